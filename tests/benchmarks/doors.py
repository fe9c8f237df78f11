"""Answered at once, trained for, or by NUTS: how right, how long, and which pays from when on.

    python -m tests.benchmarks.doors [model ...] [--training default] [--datasets 10] [--many 200]

Needs the ``benchmark`` extra (nutpie, scikit-learn). Data sets are simulated from each model. Each
is answered by ``pma.sample`` as it comes, without a network (``cache=False``), and compared with
twelve chains of nutpie on the marginal likelihood where these agree: C2ST of 4,000 draws of each
(0.5: not told apart), and the RMSE of membership probabilities. A network is trained by ``pma.fit``
and answers many of them together. nutpie's seconds are of four chains on two cores, 1,000 draws
after 1,000 of tuning. ``pma.fit`` pays from as many data sets on as make up for its training.
"""

import argparse
import logging
import math
import platform
import statistics
import time
import warnings

import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st
from tests.benchmarks.mixture import (
    MODELS,
    NUM_DRAWS,
    build,
    flat,
    fresh_datasets,
    memberships,
    nuts,
    unconstrained,
)
from tests.benchmarks.trust import attributes


def timed(function, *arguments, **options):
    start = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - start


def at_once(model, y, seed):
    with model:
        pm.set_data({"data": y})
        return timed(pma.sample, cache=False, random_seed=seed, progressbar=False)


def judge(posterior, compiled, result, y, seed):
    """Return C2ST and the RMSE of memberships, or None where chains do not agree."""
    reference, _ = nuts(compiled, y, seed)
    if reference is None:
        return None
    pick = np.random.default_rng(seed).choice(len(reference["w"]), NUM_DRAWS, replace=False)
    reference = {name: x[pick] for name, x in reference.items()}
    draws = (unconstrained(posterior, x) for x in (reference, flat(result)))
    truth = memberships(posterior, reference, y)
    found = np.asarray(result["indicator_probabilities"]["y_component"])
    return c2st(*draws, seed=seed), float(np.sqrt(np.mean((found - truth) ** 2)))


def nutpie_seconds(compiled, y, seed):
    import nutpie

    options = {"draws": 1_000, "tune": 1_000, "chains": 4, "cores": 2}
    data = compiled.with_data(data=y)
    return timed(nutpie.sample, data, seed=seed, progress_bar=False, **options)[1]


def break_even(spent, dearer, cheaper):
    """Say from how many data sets on what is spent once has paid."""
    return f"{math.ceil(max(spent, 0) / (dearer - cheaper)):,}" if dearer > cheaper else "never"


def report(name, training, num_datasets, num_many):
    import nutpie

    model, dtype = build(name), MODELS[name][2]
    posterior, fitting = timed(
        pma.fit, model, training=training, random_seed=1, cache=False, progressbar=False
    )
    ys = fresh_datasets(posterior, num_many, 79).astype(dtype)
    options = {"random_seed": 1, "progressbar": False}
    _, spent = timed(posterior.sample_many, {"y": ys}, **options)
    amortized = spent / num_many
    compiled, compiling = timed(nutpie.compile_pymc_model, model)
    found, alone, nuts_alone, accepted = [], [], [], 0
    for i, y in enumerate(ys[:num_datasets], start=1):
        result, seconds = at_once(model, y, i)
        alone.append(seconds)
        nuts_alone.append(nutpie_seconds(compiled, y, i))
        if attributes(result)["checked"] == "accepted":
            accepted += 1
            found.append(judge(posterior, compiled, result, y, i))
    compared = [x for x in found if x is not None]
    accuracy, errors = np.mean(compared, axis=0) if compared else (math.nan, math.nan)
    largest = np.max(compared, axis=0) if compared else (math.nan, math.nan)
    each, theirs = statistics.median(alone), statistics.median(nuts_alone)
    print(
        f"| {name} | {accepted} of {num_datasets} | {len(compared)} | {accuracy:.3f} "
        f"({largest[0]:.3f}) | {errors:.4f} ({largest[1]:.4f}) | {each:.2f} | {fitting:.0f} | "
        f"{amortized:.3f} | {compiling:.0f} + {theirs:.2f} | "
        f"{break_even(fitting, each, amortized)} | "
        f"{break_even(fitting - compiling, theirs, amortized)} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--training", choices=["fast", "default", "thorough"], default="default")
    parser.add_argument("--datasets", type=int, default=10)
    parser.add_argument("--many", type=int, default=200)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}; "
        f'"{arguments.training}" training\n'
    )
    print(
        "| model | accepted | compared | C2ST: mean (largest) | RMSE of z: mean (largest) | "
        "at once, s | `pma.fit`, s | then, s | nutpie, s | pays against at once from | "
        "against nutpie |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.models or list(MODELS):
        report(name, arguments.training, arguments.datasets, arguments.many)


if __name__ == "__main__":
    main()
