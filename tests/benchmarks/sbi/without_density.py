"""Networks for models of which draws alone are known, on 10,000 simulations, beside no limit.

    python -m tests.benchmarks.sbi.without_density [--simulations 10000] [--datasets 300]

SIR by a function that draws, and a mixture of a normal and a g-and-k distribution, 100 values each.
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
from tests.trained import g_and_k

NUM_FRESH = 4_000


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
    models = {"SIR": sir_random(observation("sir")), "g-and-k": g_and_k(np.zeros(100))}
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
