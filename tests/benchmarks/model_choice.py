"""A choice between two models of which draws alone are known, against its exact probabilities.

    python -m tests.benchmarks.model_choice [--steps 3000] [--number 200]

Twenty values are normal or Laplace around one location, by a ``random=`` function without a
density: networks answer, q(θ given y) and q(m given θ, y). Prints how far the probabilities of the
second model, for data sets drawn from the prior, are from those by sums over a grid of locations.
"""

import argparse
import platform
import time
import warnings

import numpy as np
import pymc as pm
import torch

from scipy import stats
from scipy.special import expit, logsumexp

import pymc_amortized as pma

NUM_VALUES = 20
SHARE = 0.4


def draw(m, mu, rng=None, size=None):
    """Draw values of either model."""
    m, mu = np.broadcast_to(m, size), np.broadcast_to(mu, size)
    return np.where(m == 0, rng.normal(mu, 1.0, size), rng.laplace(mu, 1.0, size))


def choice_of_a_model():
    """Return the model: which of two, their location, and twenty values."""
    with pm.Model() as model:
        m = pm.Bernoulli("m", SHARE)
        mu = pm.Normal("mu", 0, 2)
        pm.CustomDist("y", m, mu, random=draw, observed=np.zeros(NUM_VALUES))
    return model


def probabilities_of(values):
    """Return the exact probabilities (N,) of the second model given values (N, 20)."""
    grid = np.linspace(-9, 9, 1_201)
    log_evidence = [
        logsumexp(
            family.logpdf(values[:, None], grid[:, None]).sum(-1) + stats.norm.logpdf(grid, 0, 2), 1
        )
        for family in (stats.norm, stats.laplace)
    ]
    return expit(np.log(SHARE / (1 - SHARE)) + log_evidence[1] - log_evidence[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--number", type=int, default=200)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}; {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}\n"
    )
    options = {"random_seed": 1, "progressbar": False, "cache": False}
    training = pma.TrainingConfig(steps=arguments.steps)
    started = time.perf_counter()
    posterior = pma.fit(choice_of_a_model(), training=training, **options)
    seconds = time.perf_counter() - started
    rng = np.random.default_rng(2)
    chosen, location = rng.random(arguments.number) < SHARE, rng.normal(0, 2, arguments.number)
    values = np.stack(
        [draw(int(m), mu, rng, (NUM_VALUES,)) for m, mu in zip(chosen, location, strict=True)]
    )
    answers = posterior.sample_many([{"y": y} for y in values], draws=200, random_seed=1)
    found = answers["indicator_probabilities"]["m"].to_numpy()[:, 1]
    apart = found - probabilities_of(values)
    print(f"| steps | seconds | mean absolute error | RMSE | largest |\n{'|---' * 5}|")
    print(
        f"| {arguments.steps:,} | {seconds:.0f} | {np.abs(apart).mean():.3f} | "
        f"{np.sqrt(np.mean(apart**2)):.3f} | {np.abs(apart).max():.2f} |"
    )


if __name__ == "__main__":
    main()
