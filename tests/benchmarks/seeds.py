"""The same question five times: do answers agree with each other, and with a careful reference?

    python -m tests.benchmarks.seeds [--only NAME ...] [--seeds 5] [--steps 0]

Needs the ``benchmark`` extra (scikit-learn). Each of the larger models is answered with five
seeds, without training or from networks of so many steps. Answers that are accepted must agree on
log evidence and on means. The references are two long bridges with the package's own density, each
weighed together with draws of a mixture fitted to the other; C2ST is that of 4,000 draws of the
first and of an answer's (0.5: not told apart), beside that of the two references.
"""

import argparse
import math
import time

import numpy as np
import torch

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st
from pymc_amortized.importance.weights import resample
from tests.benchmarks.larger import MODELS
from tests.benchmarks.reference import references
from tests.benchmarks.trust import OPTIONS, attributes, prepare

NUM_DRAWS = 4_000
NUM_PROPOSALS = 60_000


def flatten(parameters, names):
    parts = [np.asarray(parameters[name]) for name in names]
    return np.concatenate([x.reshape(NUM_DRAWS, -1) for x in parts], axis=1)


def draws_of(reference, problem, names, seed):
    """Return draws (4,000, P) of constrained parameters, log evidence, its error, and the ESS."""
    points, weights, log_evidence, error = reference
    chosen = resample(weights.log_weights[:, 0], NUM_DRAWS, torch.Generator().manual_seed(seed))
    parameters = {n: x[:, 0] for n, x in problem.parameters(points[chosen])[1].items()}
    return flatten(parameters, names), log_evidence, error, float(weights.ess)


def judge(name, seeds, steps):
    """Return how answers of several seeds compare, as a row of the table."""
    model = MODELS[name]()
    config = pma.TrainingConfig(steps=steps, tolerance=None)
    answers, seconds, accepted = [], [], []
    for seed in range(1, seeds + 1):
        posterior = pma.fit(model, training=config, random_seed=seed, **OPTIONS)
        started = time.perf_counter()
        result = posterior.sample(random_seed=seed, progressbar=False)
        seconds.append(time.perf_counter() - started)
        facts = attributes(result)
        accepted.append(facts["checked"] == "accepted")
        problem = posterior.inference.problem
        names = problem.space.names
        answers.append((flatten(result["posterior"], names), facts["log_evidence"]))
    found = references(problem, 100, NUM_PROPOSALS)
    (draws, evidence, error, ess), (again, second, *_) = (
        draws_of(one, problem, names, seed) for one, seed in zip(found, (100, 101), strict=True)
    )
    kept = [a for a, good in zip(answers, accepted, strict=True) if good]
    evidences = [x for _, x in kept if not math.isnan(x)]
    sd = draws.std(0)
    apart = max((float(np.abs((x.mean(0) - draws.mean(0)) / sd).max()) for x, _ in kept), default=0)
    told = max((c2st(x, draws) for x, _ in kept), default=math.nan)
    return (
        f"| {name} | {sum(accepted)} of {seeds} | {np.median(seconds):.1f} | "
        f"{min(evidences, default=math.nan):.2f} to {max(evidences, default=math.nan):.2f} | "
        f"{evidence:.2f} ± {error:.2f}, {second:.2f} (ESS {ess:,.0f}) | {apart:.2f} | "
        f"{told:.3f} | {c2st(again, draws):.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0)
    arguments = parser.parse_args()
    prepare()
    columns = "accepted | seconds | log evidence | of two references | largest difference of means"
    print(f"| model | {columns} | C2ST | C2ST of references |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.only:
        print(judge(name, arguments.seeds, arguments.steps), flush=True)


if __name__ == "__main__":
    main()
