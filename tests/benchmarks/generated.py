"""Random models: density and memberships given parameters, against sums in NumPy.

    python -m tests.benchmarks.generated [--first 0] [--number 2000] [--answers]

Prints each model that is refused, that crashes, or whose log density or memberships are off by more
than 1e-8; then how many there were of each. ``--answers``: models are answered, and accepted
answers are wrong whose memberships are off by more than 0.02, and by five standard errors of the
reference: 200,000 draws of the prior that the generator weighs by its own likelihood. Where these
are worth fewer than 4,000 draws there is none, and answers that are not accepted are counted apart.
"""

import argparse
import collections
import logging
import time
import warnings

import numpy as np
import pytensor

import pymc_amortized as pma

from pymc_amortized.errors import AmortizedError
from tests.benchmarks.trust import attributes
from tests.random_checks import NUM_DRAWS, differences
from tests.random_models import random_model

NUM_WEIGHED, NUM_PIECES, FEWEST = 200_000, 20, 4_000


def compare(drawn, seed):
    """Return what is said of densities and memberships given parameters: right, or wrong."""
    found = differences(drawn, drawn.draw(NUM_DRAWS, np.random.default_rng(seed)))
    return "right" if max(found.values()) < 1e-8 else "wrong", str(found)


def answer(drawn, seed):
    """Return what is said of an answer: right, wrong, not accepted, or without a reference."""
    with drawn.model:
        result = pma.sample(
            draws=1_000, random_seed=seed, labels="symmetric", cache=False, progressbar=False
        )
    if attributes(result)["checked"] != "accepted":
        return "not accepted", ""
    tables = result["indicator_probabilities"]
    found = np.asarray(tables["smoothing" if drawn.is_chain else drawn.indicator])
    expected, ess = weighed(drawn, np.random.default_rng(seed))
    if ess < FEWEST:
        return "no reference", f"ESS {ess:.0f}"
    error = float(np.abs(found - expected).max())
    is_off = error > 0.02 + 5 * 0.5 / np.sqrt(ess)
    return "wrong" if is_off else "right", f"memberships off by {error:.4f}, ESS {ess:.0f}"


def weighed(drawn, rng):
    """Return memberships by draws of the prior, and how many draws these are worth."""
    logs, tables = [], []
    for _ in range(NUM_PIECES):
        log_likelihood, memberships = drawn.likelihood(drawn.draw(NUM_WEIGHED // NUM_PIECES, rng))
        logs.append(np.broadcast_to(log_likelihood, len(memberships)))
        tables.append(memberships)
    weights = np.exp(np.concatenate(logs) - np.concatenate(logs).max())
    weights /= weights.sum()
    return np.tensordot(weights, np.concatenate(tables), 1), 1 / (weights**2).sum()


def judge(seed, way):
    """Return what became of the model of a seed, and a line about it."""
    drawn = random_model(seed)
    try:
        outcome, line = way(drawn, seed)
    except AmortizedError as error:
        return "refused", f"{drawn.description}: {type(error).__name__} {str(error)[:150]}"
    except Exception as error:  # every kind of crash is counted
        return "crash", f"{drawn.description}: {type(error).__name__} {str(error)[:150]}"
    return outcome, f"{drawn.description}: {line}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=2_000)
    parser.add_argument("--answers", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("pymc_amortized").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    started, counts = time.perf_counter(), collections.Counter()
    with pytensor.config.change_flags(cxx=""):
        for seed in range(arguments.first, arguments.first + arguments.number):
            outcome, line = judge(seed, answer if arguments.answers else compare)
            counts[outcome] += 1
            if outcome not in ("right", "no reference"):
                print(f"{seed} {outcome}: {line}", flush=True)
    seconds = time.perf_counter() - started
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()), f"in {seconds:.0f} s")


if __name__ == "__main__":
    main()
