"""Simulations per second of the differential equations: scans, and functions that draw.

    python -m tests.benchmarks.sbi.rates

A function that takes many data sets at once is called once per batch; beside it, once per data set,
as compiled PyTensor calls it. Medians of five rounds in which they take turns.
"""

import logging
import platform
import statistics
import time
import warnings

import pymc as pm
import torch

import pymc_amortized as pma

from tests.benchmarks.sbi import differential
from tests.benchmarks.sbi.observations import observation

TASKS = {
    "sir": (differential.sir, differential.sir_random),
    "lotka_volterra": (differential.lotka_volterra, differential.lotka_volterra_random),
}
ROUNDS = 5


def rate(simulator, number, seed):
    """Return simulations per second."""
    began = time.perf_counter()
    simulator.sample(number, random_seed=seed)
    return number / (time.perf_counter() - began)


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    versions = f"PyMC {pm.__version__}, torch {torch.__version__}"
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {versions}\n")
    print("| task | scan | function, per batch | function, per data set | ratio |")
    print("|---|---|---|---|---|")
    for task, (scan, function) in TASKS.items():
        y = observation(task)
        ways = [
            (pma.compile_simulator(scan(y), device="cpu"), 4_000),
            (pma.compile_simulator(function(y), device="cpu"), 4_000),
            (pma.compile_simulator(function(y), device="cpu", backend="pytensor"), 200),
        ]
        for simulator, _ in ways:
            simulator.sample(20, random_seed=0)
        found = [[rate(*way, seed) for way in ways] for seed in range(ROUNDS)]
        rates = [statistics.median(column) for column in zip(*found, strict=True)]
        ratio = statistics.median(row[1] / row[2] for row in found)
        print(f"| {task} | {' | '.join(f'{r:,.0f}' for r in rates)} | {ratio:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
