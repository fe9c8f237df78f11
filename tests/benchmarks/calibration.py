"""Calibration checks: what a good network passes, and which planted faults are found.

    python -m tests.benchmarks.calibration [part ...] [--training PRESET] [--seeds N]

Parts:

check     The model of ``examples/quickstart.py``: 300 data sets with 1,000 draws each.
faults    The same with planted faults, each for 20 seeds: posteriors of 0.8 times the width, means
          moved by 0.3 sd, labels swapped, probabilities sharpened by 1.5; and none.
pictures  Pictures of ``docs/diagnostics.md``: good answers beside planted faults (``--output``).
conjugate A normal mean with its exact posterior, 20 seeds.
"""

import argparse
import pathlib
import platform

from dataclasses import replace

import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma

from examples import quickstart
from pymc_amortized.diagnostics import compare, pit_values
from pymc_amortized.diagnostics.metrics import uniformity
from pymc_amortized.diagnostics.simulated_answers import answer, simulate

NUM_DATASETS, NUM_DRAWS = 300, 1_000
# Which quantities have to find a fault.
OF_PARAMETERS = ("w", "mu", "sigma")


def moved(inference, answers, scale, shift):
    """Stretch posteriors about their means, and shift them, in standard deviations."""
    mean, sd = answers.scores.mean(0), answers.scores.std(0)
    scores = mean + scale * (answers.scores - mean) + shift * sd
    _, parameters, _ = inference.problem.parameters(scores)
    return replace(answers, scores=scores, parameters=parameters)


def with_probabilities(answers, change):
    tables = {name: [change(p) for p in ps] for name, ps in answers.probabilities.items()}
    return replace(answers, probabilities=tables)


def sharpened(p):
    powers = p**1.5
    return powers / powers.sum(-1, keepdims=True)


FAULTS = {
    "none": (lambda inference, a: a, ()),
    "scale 0.8": (lambda inference, a: moved(inference, a, 0.8, 0.0), OF_PARAMETERS),
    "shift 0.3 sd": (lambda inference, a: moved(inference, a, 1.0, 0.3), OF_PARAMETERS),
    "swapped labels": (lambda inference, a: with_probabilities(a, lambda p: p[:, ::-1]), ("p(",)),
    "sharpened by 1.5": (lambda inference, a: with_probabilities(a, sharpened), ("p(",)),
}


def trained(args):
    waiting = np.genfromtxt(quickstart.DATA, delimiter=",", names=True)["waiting"]
    model = quickstart.build(waiting)
    return pma.fit(model, sizes={"waiting": (100, 272)}, training=args.training, random_seed=1)


def check(args):
    report = trained(args).check(NUM_DATASETS, random_seed=1, draws=NUM_DRAWS)
    print(report)


def faults(args):
    inference = trained(args).inference
    caught = dict.fromkeys(FAULTS, 0)
    for seed in range(args.seeds):
        rng = np.random.default_rng(1_000 + seed)
        generator = torch.Generator().manual_seed(seed)
        simulated = simulate(inference, NUM_DATASETS, 1_000 + seed)
        answers, kept = answer(inference, simulated, NUM_DRAWS, "auto", generator)
        for name, (plant, quantities) in FAULTS.items():
            planted = plant(inference, answers)
            findings = compare(inference, "auto", planted, simulated.select(kept), rng).findings()
            failed = [f.quantity for f in findings if not f.passed]
            caught[name] += (
                any(q.startswith(quantities) for q in failed) if quantities else bool(failed)
            )
        print(
            f"  {seed + 1} seeds: " + ", ".join(f"{k} {v}" for k, v in caught.items()), flush=True
        )
    for name, count in caught.items():
        said = "failed" if name == "none" else "caught"
        print(f"  {name}: {said} in {count} of {args.seeds} seeds")


def pictures(args):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    posterior = trained(args)
    inference, generator = posterior.inference, torch.Generator().manual_seed(0)
    report = posterior.check(NUM_DATASETS, random_seed=1, draws=NUM_DRAWS)
    simulated = simulate(inference, NUM_DATASETS, 77)
    answers, kept = answer(inference, simulated, NUM_DRAWS, "auto", generator)
    simulated = simulated.select(kept)

    def planted(change):
        rng = np.random.default_rng(0)
        found = compare(inference, "auto", change(answers), simulated, rng)
        return replace(report, corrected=found)

    narrow = planted(lambda a: moved(inference, a, 0.8, 0.0))
    shifted = planted(lambda a: moved(inference, a, 1.0, 0.3))
    sharp = planted(lambda a: with_probabilities(a, sharpened))
    swapped = planted(lambda a: with_probabilities(a, lambda p: p[:, ::-1]))
    columns = {"right": report, "0.8 of its width": narrow, "0.3 sd too high": shifted}
    of_probabilities = {"right": report, "sharpened by 1.5": sharp, "labels swapped": swapped}
    args.output.mkdir(parents=True, exist_ok=True)
    for name in ("sbc", "coverage", "recovery", "contraction"):
        figure, axes = plt.subplots(2, 3, figsize=(8.4, 5), layout="constrained")
        for column, (title, found) in zip(axes.T, columns.items(), strict=True):
            getattr(pma.diagnostics, f"plot_{name}")(found, var_names=["mu"], ax=column)
            column[0].set_title(f"{title}\n{column[0].get_title()}")
        figure.savefig(args.output / f"check_{name}.png", dpi=80)
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.9), layout="constrained")
    for ax, (title, found) in zip(axes, of_probabilities.items(), strict=True):
        pma.diagnostics.plot_reliability(found, ax=ax)
        ax.set_title(f"{title}\n{ax.get_title()}")
    figure.savefig(args.output / "check_reliability.png", dpi=80)
    figure, axes = plt.subplots(1, 5, figsize=(12, 2.7), layout="constrained")
    pma.diagnostics.plot_corrected(report, var_names=["sigma"], ax=axes[:2])
    pma.diagnostics.plot_history(posterior, ax=axes[2:4])
    pma.diagnostics.plot_distance(posterior, ax=axes[4])
    figure.savefig(args.output / "check_network.png", dpi=80)
    print(f"pictures in {args.output}")


def conjugate(args):
    """mu ~ N(0, 2), five y ~ N(mu, 1): the posterior is known."""
    caught = {"exact": 0, "scale 0.8": 0, "shift 0.3 sd": 0}
    for seed in range(args.seeds):
        rng = np.random.default_rng(seed)
        mu = rng.normal(0, 2, NUM_DATASETS)
        y = rng.normal(mu[:, None], 1, (NUM_DATASETS, 5))
        variance = 1 / (1 / 4 + 5)
        mean, sd = variance * y.sum(1), np.sqrt(variance)
        noise = rng.normal(size=(NUM_DRAWS, NUM_DATASETS))
        for name, scale, shift in (
            ("exact", 1, 0),
            ("scale 0.8", 0.8, 0),
            ("shift 0.3 sd", 1, 0.3),
        ):
            draws = mean + sd * (scale * noise + shift)
            caught[name] += uniformity(pit_values(draws, mu, rng)).p_value < 0.01
    print("conjugate: failed in " + ", ".join(f"{n}: {c}" for n, c in caught.items()))


PARTS = {"check": check, "faults": faults, "pictures": pictures, "conjugate": conjugate}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--training", default="default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/images"))
    args = parser.parse_args()
    print(
        f"Python {platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for part in args.parts or PARTS:
        PARTS[part](args)


if __name__ == "__main__":
    main()
