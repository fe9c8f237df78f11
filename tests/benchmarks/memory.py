"""Peak memory of a batch of simulations, as torch allocates it.

    python -m tests.benchmarks.memory

Prints bytes per data set and unit of a Gaussian mixture, for more components and more units.
"""

import warnings

from collections.abc import Callable

import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma


def largest_allocation(run: Callable[[], object]) -> int:
    """Return the peak of what torch holds during a call, in bytes, above what it held before."""
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
        run()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def peak_of_mixture(num_components: int, num_units: int, num_datasets: int = 200) -> int:
    """Return the peak of one batch of a Gaussian mixture, in bytes."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(num_components))
        mu = pm.Normal("mu", 0, 5, shape=num_components)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=np.zeros(num_units))
    simulator = pma.compile_simulator(model, device="cpu")
    return largest_allocation(lambda: simulator.sample(num_datasets, random_seed=1))


def main() -> None:
    warnings.simplefilter("ignore")
    print("| K | N | peak of 200 data sets | bytes per data set and unit |")
    print("|---|---|---|---|")
    for num_components, num_units in ((2, 2_000), (40, 2_000), (2, 8_000), (40, 8_000)):
        peak = peak_of_mixture(num_components, num_units)
        each = peak / (200 * num_units)
        print(f"| {num_components} | {num_units:,} | {peak / 1e6:.1f} MB | {each:.0f} |")


if __name__ == "__main__":
    main()
