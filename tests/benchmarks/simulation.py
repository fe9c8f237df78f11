"""Data sets per second, side by side with ``pm.draw`` of the same model.

    python -m tests.benchmarks.simulation [--seconds 5]

Prints a table for a Gaussian mixture (K = 3, N = 200), a Gaussian hidden Markov model (K = 2,
T = 100) and an epidemic of 60 days that a Python function draws, with the time from the call to the
first batch. Each figure is the median of five rounds, in which the two ways take turns.
"""

import argparse
import functools
import platform
import statistics
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor
import torch

from pymc.distributions.transforms import ordered

import pymc_amortized as pma

ROUNDS = 5


def gaussian_mixture():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.full(3, 2.0))
        mu = pm.Normal("mu", 0, 3, shape=3, transform=ordered)
        sigma = pm.HalfNormal("sigma", 1, shape=3)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=np.zeros(200))
    return model


def gaussian_hidden_markov_model():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.full((2, 2), 2.0))
        mu = pm.Normal("mu", [-1, 1], 1, transform=ordered)
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(100,))
        pm.Normal("y", mu[z], 1, observed=np.zeros(100))
    return model


def infections(beta, gamma, days, rng=None, size=None):
    """New infections (*batch, days) of a stochastic SIR model of 1,000 persons."""
    susceptible, infected, new = 990, 10, []
    for _ in range(days.shape[-1]):
        infections = rng.binomial(susceptible, 1 - np.exp(-beta * infected / 1_000))
        recoveries = rng.binomial(infected, 1 - np.exp(-gamma))
        susceptible = susceptible - infections
        infected = infected + infections - recoveries
        new.append(infections)
    return np.stack(new, axis=-1)


def infections_of_one(beta, gamma, days, rng=None, size=None):
    """The same, for numbers alone."""
    return infections(beta.item(), gamma.item(), days, rng)


def epidemic(function):
    with pm.Model() as model:
        beta = pm.LogNormal("beta", -0.7, 0.5)
        gamma = pm.LogNormal("gamma", -1.6, 0.4)
        options = {"signature": "(),(),(t)->(t)", "dtype": "int64", "observed": np.zeros(60, int)}
        pm.CustomDist("y", beta, gamma, np.arange(60.0), random=function, **options)
    return model


def seconds_of(run):
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def throughput(run, num_datasets, seconds):
    """Data sets per second of a function that makes ``num_datasets`` at a call."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        run()
        done += num_datasets
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return done / (time.perf_counter() - start)


def drawer(model, num_draws):
    """``pm.draw`` of all variables, compiled once, as ``pm.draw`` itself would call it."""
    variables = [*model.free_RVs, *model.observed_RVs]
    compiled = pm.compile([], variables, random_seed=1)
    return lambda: [compiled() for _ in range(num_draws)]


def measure(name, build, batch, seconds):
    model = build()
    to_first_batch = seconds_of(lambda: pma.compile_simulator(model).sample(batch, random_seed=1))
    simulator = pma.compile_simulator(model)
    draw = drawer(model, 50)
    draw()
    share = seconds / ROUNDS
    ours, theirs = [], []
    for seed in range(ROUNDS):
        rng = np.random.default_rng(seed)
        ours.append(throughput(lambda rng=rng: simulator.sample(batch, rng), batch, share))
        theirs.append(throughput(draw, 50, share))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    mine, pymc = statistics.median(ours), statistics.median(theirs)
    cells = f"{mine:,.0f} | {pymc:,.0f} | {ratio:,.0f} | {to_first_batch:.2f} s | {batch:,}"
    print(f"| {name} | {cells} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="per model and way")
    parser.add_argument("--batch", type=int, default=None, help="data sets a batch")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    batch = arguments.batch or (20_000 if on_gpu else 2_000)
    print(
        f"{platform.machine()}, {device}; Python {platform.python_version()}, PyMC "
        f"{pm.__version__}, PyTensor {pytensor.__version__}, torch {torch.__version__}\n"
    )
    print("| model | data sets/s | `pm.draw`/s | ratio | first batch after | batch |")
    print("|---|---|---|---|---|---|")
    measure("Gaussian mixture, K = 3, N = 200", gaussian_mixture, batch, arguments.seconds)
    measure("Gaussian HMM, K = 2, T = 100", gaussian_hidden_markov_model, batch, arguments.seconds)
    for name, function in [("takes many", infections), ("takes one", infections_of_one)]:
        build = functools.partial(epidemic, function)
        measure(f"SIR, 60 days, `random=` {name}", build, batch, arguments.seconds)


if __name__ == "__main__":
    main()
