"""What answers cost once a network is there: reading, one data set, sixteen at once.

    python -m tests.benchmarks.answers [--rounds 7]

Seconds of the processor, one thread: medians of rounds in which all take turns. To compare with
another checkout, run this file there, by its path, from the root of the checkout.
"""

import argparse
import logging
import os
import platform
import statistics
import sys
import time
import warnings

import numpy as np
import pymc as pm
import torch

sys.path.insert(0, os.getcwd())

import pymc_amortized as pma

OPTIONS = {"random_seed": 1, "progressbar": False}


def data(seed=0, num_units=40):
    rng = np.random.default_rng(seed)
    z = rng.random(num_units) < 0.35
    return np.where(z, rng.normal(-2, 0.7, num_units), rng.normal(1.5, 1.0, num_units))


def mixture():
    with pm.Model() as model:
        w = pm.Dirichlet("w", 2 * np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2, transform=pm.distributions.transforms.ordered)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=data())
    return model


def explicit():
    with pm.Model() as model:
        x = pm.Data("x", np.linspace(-1, 1, 200))
        b = pm.Normal("b", 0, 2, shape=3)
        z = pm.Categorical("z", pm.Dirichlet("w", np.ones(3)), shape=200)
        pm.Normal("y", b[z] * x, 0.5, observed=data(1, 200))
    return model


def seconds_of(run):
    start = time.process_time()
    run()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    logging.getLogger("pymc_amortized").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    config = pma.TrainingConfig(steps=200, tolerance=None)
    posterior = pma.fit(mixture(), training=config, cache=False, **OPTIONS)
    sets = [{"y": data(seed)} for seed in range(16)]
    ways = {
        "compile_simulator, mixture": lambda: pma.compile_simulator(mixture()),
        "compile_simulator, explicit": lambda: pma.compile_simulator(explicit()),
        "sample": lambda: posterior.sample(random_seed=1),
        "sample_many, 16 data sets": lambda: posterior.sample_many(sets, **OPTIONS),
    }
    found = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            found[name].append(seconds_of(run))
    print(
        f"{platform.machine()}; Python {platform.python_version()}, PyMC {pm.__version__}, torch "
        f"{torch.__version__}; {os.path.dirname(pma.__file__)}\n"
    )
    print("| way | seconds |")
    print("|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds):.3f} |")


if __name__ == "__main__":
    main()
