"""Whether accepted answers are right: modes that networks miss, and false alarms.

    python -m tests.benchmarks.trust [--seeds 8] [--datasets 40] [--steps 5 150 1000]

First, two regressions on one covariate whose likelihood is the same with components exchanged,
while the prior is not: the posterior has a mirrored mode. Networks of few and of many steps,
answered with a second estimate (as by default) and without. The mode's weight is that of an
estimate from a long bridge, and from draws of a mixture fitted to another, with its standard error.

Then data sets simulated from models of every kind: how many answers are confirmed, how many have no
second estimate that could be relied on, and how many do not agree with theirs. Data come from the
prior, so that answers are right for the most part: what is not accepted is a false alarm.
"""

import argparse
import logging
import platform
import statistics
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import torch

import pymc_amortized as pma

from tests.benchmarks.correction import NAMES, model_of
from tests.benchmarks.reference import references

ORDERED = pm.distributions.transforms.ordered
OPTIONS = {"progressbar": False, "cache": False}


def mirrored(num_units=120):
    rng = np.random.default_rng(11)
    x = rng.normal(size=num_units)
    first = rng.random(num_units) < 0.5
    y = np.where(first, -1.15 + 0.6 * x, 1.15 - 0.5 * x) + 0.5 * rng.normal(size=num_units)
    with pm.Model() as model:
        x = pm.Data("x", x)
        a = pm.Normal("a", [-1, 1], 1.6, shape=2)
        b = pm.Normal("b", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=a + x[:, None] * b, sigma=sigma, observed=y)
    return model


def chain(num_times=80):
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.array([[4.0, 1.0], [1.0, 4.0]]))
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(num_times,))
        pm.Normal("y", mu[z], 0.8, observed=np.zeros(num_times))
    return model


def alarm_models():
    """The five models of the benchmark of corrections, and a chain."""
    models = {name: model_of(name) for name in NAMES}
    return {**models, "chain of two states": chain()}


def attributes(result):
    """Facts of an answer, wherever this generation of ArviZ keeps them."""
    posterior = result["posterior"]
    return posterior.attrs if "checked" in posterior.attrs else result.attrs


def share_of_mirrored(a):
    return float((a[..., 0] > a[..., 1]).mean())


def reference_share(model):
    """The weight of the mirrored mode, and its standard error, by a long bridge."""
    posterior = pma.fit(model, training=pma.TrainingConfig(steps=1, tolerance=None), **OPTIONS)
    problem = posterior.inference.problem
    (points, weights, *_), _ = references(problem, 1, 200_000, num_components=6)
    weight = weights.log_weights[:, 0].exp().numpy()
    a = problem.parameters(points)[1]["a"][:, 0].numpy()
    inside = a[:, 0] > a[:, 1]
    share = float(weight[inside].sum())
    return share, float(np.sqrt((weight**2 * (inside - share) ** 2).sum()))


def report_modes(seeds, steps):
    model = mirrored()
    share, error = reference_share(model)
    print(f"Mirrored mode: weight {share:.4f} ± {error:.4f}\n")
    print(
        "| steps | second estimate | accepted | mode lost | largest error | log evidence | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    for number in steps:
        config = pma.TrainingConfig(steps=number, tolerance=None)
        posteriors = [
            pma.fit(model, training=config, random_seed=s, **OPTIONS) for s in range(seeds)
        ]
        for confirm in ("none", "single"):
            shares, evidences, seconds = [], [], []
            for posterior in posteriors:
                start = time.process_time()
                rule = pma.AcceptanceRule(confirm=confirm)
                result = posterior.sample(random_seed=1, acceptance=rule)
                seconds.append(time.process_time() - start)
                facts = attributes(result)
                if facts["checked"] == "accepted":
                    a = np.asarray(result["posterior"]["a"])
                    shares.append(share_of_mirrored(a))
                    evidences.append(facts["log_evidence"])
            lost = sum(found < share / 2 for found in shares)
            worst = max(abs(found - share) for found in shares)
            second = "yes" if confirm == "single" else "no"
            cost = statistics.median(seconds)
            print(
                f"| {number:,} | {second} | {len(shares)} of {seeds} | {lost} | {worst:.3f} | "
                f"{min(evidences):.2f} to {max(evidences):.2f} | {cost:.2f} |",
                flush=True,
            )


def report_alarms(num_datasets, steps):
    columns = "accepted | by importance, adaptive, smc, mcmc | no second estimate | disagree"
    print(f"\n| model | {columns} | CPU s, median and largest |")
    print("|---|---|---|---|---|---|")
    config = pma.TrainingConfig(steps=steps, tolerance=None)
    for name, model in alarm_models().items():
        posterior = pma.fit(model, training=config, random_seed=1, **OPTIONS)
        simulation = posterior.inference.problem.simulator.sample(num_datasets, 99)
        facts, seconds = [], []
        for i in range(num_datasets):
            data = {k: np.asarray(x[i].cpu()) for k, x in simulation.observations.items()}
            start = time.process_time()
            result = posterior.sample(data, random_seed=i)
            seconds.append(time.process_time() - start)
            facts.append(attributes(result))
        accepted = sum(f["checked"] == "accepted" for f in facts)
        by = [f["confirmed_by"] for f in facts]
        rungs = [f["rung"] for f in facts]
        each = (str(rungs.count(r)) for r in ("importance", "adaptive", "smc", "mcmc"))
        print(
            f"| {name} | {accepted} of {num_datasets} | {', '.join(each)} | {by.count('nothing')} "
            f"| {by.count('neither')} | {statistics.median(seconds):.2f}, {max(seconds):.1f} |",
            flush=True,
        )


def prepare():
    """Be quiet, take one thread, and print what the figures are made with."""
    warnings.simplefilter("ignore")
    logging.getLogger("pymc_amortized").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}; Python {platform.python_version()}, PyMC {pm.__version__}, torch "
        f"{torch.__version__}, one thread\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 150, 1_000])
    parser.add_argument("--datasets", type=int, default=40)
    parser.add_argument("--only", choices=["modes", "alarms"], default=None)
    arguments = parser.parse_args()
    prepare()
    if arguments.only != "alarms":
        report_modes(arguments.seeds, arguments.steps)
    if arguments.only != "modes":
        report_alarms(arguments.datasets, arguments.steps[-1])


if __name__ == "__main__":
    main()
