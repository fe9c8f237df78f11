"""How long models take to be read.

    python -m tests.benchmarks.reading [--runs 3] [--large]

Seconds of the wall from a model to its simulator, medians of runs, of every model of
``tests/cases.py`` and ``tests/strangers.py``: how they are spread, and the slowest ones, each with
the functions of the package in which most of the time went. ``--large``: models of many observed
variables, many components, many units, and long chains instead, each in a process of its own.
"""

import argparse
import cProfile
import multiprocessing
import platform
import pstats
import resource
import statistics
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import torch

import pymc_amortized as pma

from tests.cases import CASES
from tests.strangers import STRANGERS

RNG = np.random.default_rng(1)
NUM_SLOWEST = 3


def one_indicator_of_300_variables():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(2)), pm.Normal("mu", 0, 3, shape=2)
        z = pm.Categorical("z", w, shape=20)
        for j in range(300):
            pm.Normal(f"y_{j}", mu[z], 1, observed=RNG.normal(size=20))
    return model


def mixtures_of_200_variables():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(2)), pm.Normal("mu", 0, 3, shape=2)
        for j in range(200):
            pm.NormalMixture(f"y_{j}", w, mu, 1, observed=RNG.normal(size=20))
    return model


def fifty_components_of_10_000_units():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(50)), pm.Normal("mu", 0, 3, shape=(50, 20))
        z = pm.Categorical("z", w, shape=10_000)
        pm.Normal("y", mu[z], 1, observed=RNG.normal(size=(10_000, 20)))
    return model


def fifty_multivariate_components():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(50)), pm.Normal("mu", 0, 3, shape=(50, 20))
        components = pm.MvNormal.dist(mu, np.eye(20))
        pm.Mixture("y", w, components, observed=RNG.normal(size=(10_000, 20)))
    return model


def fifty_components_in_a_list():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(50)), pm.Normal("mu", 0, 3, shape=(50, 20))
        components = [pm.MvNormal.dist(mu[k], np.eye(20)) for k in range(50)]
        pm.Mixture("y", w, components, observed=RNG.normal(size=(10_000, 20)))
    return model


def chain_of_100_000_times():
    with pm.Model() as model:
        P, mu = pm.Dirichlet("P", np.ones((5, 5))), pm.Normal("mu", 0, 3, shape=5)
        first = pm.Categorical.dist(np.ones(5) / 5)
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=100_000)
        pm.Normal("y", mu[z], 1, observed=RNG.normal(size=100_000))
    return model


LARGE = (
    one_indicator_of_300_variables,
    mixtures_of_200_variables,
    fifty_components_of_10_000_units,
    fifty_multivariate_components,
    fifty_components_in_a_list,
    chain_of_100_000_times,
)


def seconds_to_read(build):
    model = build()
    started = time.perf_counter()
    pma.compile_simulator(model, device="cpu")
    return time.perf_counter() - started


def where_it_went(build, number=4):
    """Return functions of the package in which most of the time went, each with its share."""
    model, profile = build(), cProfile.Profile()
    profile.runcall(pma.compile_simulator, model, device="cpu")
    stats = pstats.Stats(profile)
    whole = stats.total_tt
    rooms = ("reading", "density", "graph", "simulation")
    own = {
        f"{function} ({100 * cumulative / whole:.0f} %)": cumulative
        for (path, _, function), (_, _, _, cumulative, _) in stats.stats.items()
        if any(f"/{room}/" in path for room in rooms) and not function.startswith("<")
    }
    return ", ".join(sorted(own, key=own.get, reverse=True)[1 : number + 1])


def report_cases(runs):
    builds = {s.name: s.model for s in [*CASES, *STRANGERS]}
    seconds_to_read(builds["normal_mixture_ordered"])  # what is done once in a process
    found = {
        name: statistics.median(seconds_to_read(build) for _ in range(runs))
        for name, build in builds.items()
    }
    values = np.array(list(found.values()))
    print(
        f"{len(values)} models: median {np.median(values):.2f} s, nine of ten below "
        f"{np.quantile(values, 0.9):.2f} s\n\n| slowest | seconds | where |\n|---|---|---|"
    )
    for name in sorted(found, key=found.get, reverse=True)[:NUM_SLOWEST]:
        print(f"| {name} | {found[name]:.2f} | {where_it_went(builds[name])} |")


def read_alone(build):
    warnings.simplefilter("ignore")
    seconds = seconds_to_read(build)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report_large():
    print("| model | seconds | memory, GiB |\n|---|---|---|")
    for build in LARGE:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, memory = pool.apply(read_alone, (build,))
        print(f"| {build.__name__.replace('_', ' ')} | {seconds:.1f} | {memory:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}; {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}\n"
    )
    report_large() if arguments.large else report_cases(arguments.runs)


if __name__ == "__main__":
    main()
