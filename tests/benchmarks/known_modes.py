"""Posteriors whose modes are known: is each in an accepted answer, with its weight?

    python -m tests.benchmarks.known_modes [--seeds 20] [--steps 0 150 7000]

A mean in D dimensions with a normal prior is observed once, with one of K displacements. Its
posterior is a mixture of K normals, whose weights, means and evidence are known. K goes from two to
eight, D from two to twenty, and weights from 0.02 up; seeds choose them. Two modes are at least six
standard deviations apart. Networks are trained for so many steps, and need not be any good: what is
accepted must be right.
"""

import argparse
import statistics
import time

import numpy as np
import pymc as pm

from scipy import stats

import pymc_amortized as pma

from tests.benchmarks.trust import OPTIONS, attributes, prepare

SIZES = (2, 3, 5, 8, 12, 16, 20)
NUMBERS = (2, 3, 4, 6, 8)
SCALE, PRIOR = 0.3, 2.0
FEWEST, APART = 0.02, 6.0
LARGE, MARGIN = 0.05, 0.03


def posterior_of(seed):
    """Return a model, the centres (K, D) of its posterior's modes, their weights, the evidence."""
    rng = np.random.default_rng(seed)
    size, number = SIZES[seed % len(SIZES)], NUMBERS[seed % len(NUMBERS)]
    shrink = PRIOR**2 / (PRIOR**2 + SCALE**2)
    sd = SCALE * np.sqrt(shrink)
    centres = [rng.normal(0, 1.2, size)]
    while len(centres) < number:
        new = rng.normal(0, 1.2, size)
        if min(np.linalg.norm(new - c) for c in centres) > APART * sd:
            centres.append(new)
    centres = np.stack(centres)
    shares = FEWEST + (1 - FEWEST * number) * rng.dirichlet(np.full(number, 2.0))
    marginal = stats.multivariate_normal(np.zeros(size), (PRIOR**2 + SCALE**2) * np.eye(size))
    displacements = -centres / shrink
    log_marginal = marginal.logpdf(displacements).reshape(-1)
    log_w = np.log(shares) - log_marginal
    log_evidence = -np.logaddexp.reduce(log_w)
    w = np.exp(log_w + log_evidence)
    with pm.Model() as model:
        theta = pm.Normal("theta", 0, PRIOR, shape=size)
        parts = [pm.MvNormal.dist(theta + d, cov=SCALE**2 * np.eye(size)) for d in displacements]
        pm.Mixture("y", w=w / w.sum(), comp_dists=parts, observed=np.zeros((1, size)))
    return model, centres, shares, log_evidence


def judge(seed, steps):
    """Answer, and say what is accepted, how far weights are off, and in how many seconds."""
    model, centres, shares, log_evidence = posterior_of(seed)
    config = pma.TrainingConfig(steps=steps, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=seed, **OPTIONS)
    start = time.perf_counter()
    result = posterior.sample(random_seed=seed)
    seconds = time.perf_counter() - start
    facts = attributes(result)
    theta = np.asarray(result["posterior"]["theta"]).reshape(-1, 1, centres.shape[1])
    nearest = np.linalg.norm(theta - centres, axis=-1).argmin(-1)
    found = np.bincount(nearest, minlength=len(shares)) / len(nearest)
    large = shares >= LARGE
    return {
        "accepted": facts["checked"] == "accepted",
        "by": facts["confirmed_by"],
        "off": float(np.abs(found - shares)[large].max()),
        "evidence": abs(facts["log_evidence"] - log_evidence),
        "seconds": seconds,
        "what": f"{len(shares)} modes in {centres.shape[1]}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 150, 7_000])
    arguments = parser.parse_args()
    prepare()
    columns = "accepted | of these wrong | largest error of a weight | of log evidence"
    print(f"| steps | {columns} | confirmed by | seconds, median and largest |")
    print("|---|---|---|---|---|---|---|")
    for steps in arguments.steps:
        found = [judge(seed, steps) for seed in range(arguments.seeds)]
        accepted = [f for f in found if f["accepted"]]
        wrong = [f["what"] for f in accepted if f["off"] > MARGIN]
        by = {word: sum(f["by"] == word for f in accepted) for word in ("bridge", "search", "mcmc")}
        seconds = [f["seconds"] for f in found]
        print(
            f"| {steps:,} | {len(accepted)} of {len(found)} | {len(wrong)} | "
            f"{max((f['off'] for f in accepted), default=0):.3f} | "
            f"{max((f['evidence'] for f in accepted), default=0):.2f} | "
            f"{', '.join(f'{word} {n}' for word, n in by.items() if n)} | "
            f"{statistics.median(seconds):.1f}, {max(seconds):.1f} |",
            flush=True,
        )
        left = [f["what"] for f in found if not f["accepted"]]
        if left or wrong:
            print(f"\nnot accepted: {left}; wrong: {wrong}\n", flush=True)


if __name__ == "__main__":
    main()
