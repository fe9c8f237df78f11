"""Random models: density and memberships given parameters, against sums in NumPy.

    python -m tests.benchmarks.generated [--first 0] [--number 2000]

Prints each model that is refused, that crashes, or whose log density or memberships are off by more
than 1e-8; then how many there were of each.
"""

import argparse
import collections
import time
import warnings

import numpy as np
import pytensor

from pymc_amortized.errors import AmortizedError
from tests.random_checks import NUM_DRAWS, differences
from tests.random_models import random_model


def judge(seed):
    """Return what became of the model of a seed, and a line about it."""
    drawn = random_model(seed)
    values = drawn.draw(NUM_DRAWS, np.random.default_rng(seed))
    try:
        found = differences(drawn, values)
    except AmortizedError as error:
        return "refused", f"{drawn.description}: {type(error).__name__} {str(error)[:150]}"
    except Exception as error:  # every kind of crash is counted
        return "crash", f"{drawn.description}: {type(error).__name__} {str(error)[:150]}"
    right = max(found.values()) < 1e-8
    return "right" if right else "wrong", f"{drawn.description}: {found}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=2_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    started, counts = time.perf_counter(), collections.Counter()
    with pytensor.config.change_flags(cxx=""):
        for seed in range(arguments.first, arguments.first + arguments.number):
            outcome, line = judge(seed)
            counts[outcome] += 1
            if outcome != "right":
                print(f"{seed} {outcome}: {line}", flush=True)
    seconds = time.perf_counter() - started
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()), f"in {seconds:.0f} s")


if __name__ == "__main__":
    main()
