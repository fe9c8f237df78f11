"""Networks for models of which draws alone are known, on 10,000 simulations, beside no limit.

    python -m tests.benchmarks.sbi.without_density [--simulations 10000] [--datasets 300]

SIR by a function that draws, and a mixture of two g-and-k distributions that overlap, 100 values.
Printed are p-values of calibration over data sets drawn from the prior, and the cross-entropy of
memberships, in nats per value, of 4,000 data sets that no network has seen.
"""

import argparse
import logging
import platform
import warnings

import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma

from tests.benchmarks.sbi.differential import sir_random
from tests.benchmarks.sbi.observations import observation

NUM_FRESH = 4_000


def draw_g_and_k(location, scale, rng=None, size=None):
    """Draw skewed values with heavy tails: g = 1, k = 0.2."""
    z = rng.normal(size=size)
    return location + scale * (1 + 0.8 * np.tanh(z / 2)) * (1 + z**2) ** 0.2 * z


def two_g_and_k(y):
    """Two components, whose locations are in order, and that overlap."""
    with pm.Model() as model:
        w = pm.Beta("w", 3, 3)
        location = pm.Normal("location", [-1, 1.5], 0.5)
        scale = pm.HalfNormal("scale", 1)
        components = [
            pm.CustomDist.dist(location[k], 0.3 + scale, random=draw_g_and_k, class_name="GandK")
            for k in range(2)
        ]
        pm.Mixture("y", w=pm.math.stack([w, 1 - w]), comp_dists=components, observed=y)
    return model


@torch.no_grad()
def cross_entropy(posterior):
    """Return the cross-entropy of memberships of data sets that are simulated now."""
    batch = posterior.inference.problem.source.draw(NUM_FRESH, seed=987)
    generator = torch.Generator().manual_seed(1)
    losses = posterior.inference.estimator.losses(batch, generator)
    return float(losses["classification"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--datasets", type=int, default=300)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    versions = f"PyMC {pm.__version__}, torch {torch.__version__}"
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {versions}\n")
    print("| model | simulations | training, s | held-out loss | calibration | cross-entropy |")
    print("|---|---|---|---|---|---|")
    models = {"SIR": sir_random(observation("sir")), "g-and-k": two_g_and_k(np.zeros(100))}
    for name, model in models.items():
        for budget in (asked.simulations, None):
            config = pma.TrainingConfig(simulations=budget)
            options = {"random_seed": 1, "progressbar": False, "cache": False, "device": "cpu"}
            posterior = pma.fit(model, training=config, **options)
            report = posterior.check(num_datasets=asked.datasets, random_seed=2)
            record, word = posterior.record, "passed" if report.passed else "failed"
            entropy = f"{cross_entropy(posterior):.4f}" if name == "g-and-k" else ""
            print(
                f"| {name} | {record.simulations:,} | {record.seconds:.0f} | "
                f"{record.validation_loss:.3f} | {word} | {entropy} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
