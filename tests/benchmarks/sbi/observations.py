"""Observed data of the ten tasks, ten each, and draws of their posteriors.

Observations are copied from sbibm 1.1.0 (MIT licence, Copyright (c) 2020 Jan-Matthis Lückmann, Jan
Bölts, David Greenberg, Pedro Gonçalves, Jakob Macke; https://github.com/sbi-benchmark/sbibm), to
``observations.json``. Posteriors are drawn from closed forms, or read from that package, which has
to be there for them: ``pip install --no-deps sbibm==1.1.0``.
"""

import bz2
import functools
import importlib.util
import json
import pathlib

import numpy as np

__all__ = ["NUM_DRAWS", "observation", "reference"]

NUM_DRAWS = 10_000
_FILE = pathlib.Path(__file__).with_name("observations.json")
_FOLDERS = {"bernoulli_glm_raw": "bernoulli_glm", "slcp_distractors": "slcp"}


@functools.cache
def _observations():
    return json.loads(_FILE.read_text())


def observation(task, number=1):
    """Return the observed values (P,) of a task, number 1 to 10."""
    return np.array(_observations()[task][number - 1])


def reference(task, number=1, seed=1):
    """Return 10,000 draws (10,000, D) of a task's posterior."""
    if task in _CLOSED_FORMS:
        return _CLOSED_FORMS[task](observation(task, number), np.random.default_rng(seed))
    spec = importlib.util.find_spec("sbibm")
    if spec is None:
        raise SystemExit(
            f"Draws of the posterior of {task} are read from sbibm, which is not installed:\n\n"
            "    pip install --no-deps sbibm==1.1.0"
        )
    folder = pathlib.Path(spec.origin).parent / "tasks" / _FOLDERS.get(task, task) / "files"
    path = folder / f"num_observation_{number}" / "reference_posterior_samples.csv.bz2"
    with bz2.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",", skiprows=1)


def _within(draw, low, high):
    """Keep draws (S, D) inside a box, until there are enough."""
    kept, number = [], 0
    while number < NUM_DRAWS:
        draws = draw(NUM_DRAWS)
        draws = draws[((draws >= low) & (draws <= high)).all(1)]
        kept.append(draws)
        number += len(draws)
    return np.concatenate(kept)[:NUM_DRAWS]


def _gaussian_linear(y, rng):
    return rng.normal(y / 2, np.sqrt(0.05), (NUM_DRAWS, 10))


def _gaussian_linear_uniform(y, rng):
    columns = [_within(lambda n, c=c: rng.normal(c, np.sqrt(0.1), (n, 1)), -1, 1) for c in y]
    return np.concatenate(columns, axis=1)


def _gaussian_mixture(y, rng):
    def draw(number):
        scale = np.where(rng.random((number, 1)) < 0.5, 1.0, 0.1)
        return y + scale * rng.normal(size=(number, 2))

    return _within(draw, -10, 10)


def _two_moons(y, rng):
    """Undo the simulator: the crescent gives the sum and the difference of parameters."""

    def draw(number):
        angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, number), rng.normal(0.1, 0.01, number)
        total = np.sqrt(2) * (radius * np.cos(angle) + 0.25 - y[0])
        difference = np.sqrt(2) * (y[1] - radius * np.sin(angle))
        total = np.where(rng.random(number) < 0.5, total, -total)
        return np.stack([total - difference, total + difference], axis=1) / 2

    return _within(draw, -1, 1)


_CLOSED_FORMS = {
    "gaussian_linear": _gaussian_linear,
    "gaussian_linear_uniform": _gaussian_linear_uniform,
    "gaussian_mixture": _gaussian_mixture,
    "two_moons": _two_moons,
}
