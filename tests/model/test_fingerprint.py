"""What makes two models the same to a network, and what does not."""

import functools
import os
import subprocess
import sys

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest

from scipy.interpolate import CubicSpline

from pymc_amortized.compat import reference_mode
from pymc_amortized.model.fingerprint import fingerprint_parts
from pymc_amortized.model.reading.completion import complete_model


def parts(model):
    return fingerprint_parts(complete_model(model))


def differing(one, other):
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def mixture(y=(0.0, 1.0, 2.0), *, scale=1.0, w=(0.5, 0.5), x=(1.0, 2.0, 3.0), ordered=True):
    with pm.Model() as model:
        data = pm.Data("x", np.asarray(x))
        transform = {"transform": pm.distributions.transforms.ordered} if ordered else {}
        mu = pm.Normal("mu", 0, scale, shape=2, **transform)
        pm.NormalMixture("y", w=list(w), mu=mu * data[:, None], sigma=1, observed=np.asarray(y))
    return model


CHANGES = {
    "prior": ({"scale": 2.0}, ["parameter 'mu'"]),
    "transform": ({"ordered": False}, ["parameter 'mu'"]),
    "covariate": ({"x": (1.0, 2.0, 4.0)}, ["data 'x'"]),
}


def test_observed_values_do_not_matter():
    assert parts(mixture()) == parts(mixture(y=(5.0, 6.0, 7.0)))


def by_dims(y):
    with pm.Model(coords={"unit": range(len(y))}) as model:
        values = pm.Data("values", y, dims="unit")
        pm.Normal("y", pm.Normal("mu", 0, 1), 1, observed=values, dims="unit")
    return model


def counts(y):
    with pm.Model() as model:
        values = pm.Data("values", np.abs(y).astype(int))
        pm.Poisson("y", pm.Gamma("mu", 2, 1), observed=values)
    return model


def explicit_with_data(y):
    with pm.Model() as model:
        values = pm.Data("values", y)
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.5, shape=values.shape[0])
        pm.Normal("y", mu[z], 1, observed=values)
    return model


def regression(y):
    with pm.Model() as model:
        x = pm.Data("x", np.linspace(-1, 1, len(y)))
        pm.Normal("y", pm.Normal("slope", 0, 1) * x, 1, observed=pm.Data("values", y))
    return model


def mixture_of_data(y):
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1, observed=pm.Data("values", y))
    return model


@pytest.mark.parametrize(
    "build", [by_dims, counts, explicit_with_data, regression, mixture_of_data]
)
def test_observed_data_that_are_set_anew_do_not_matter(build):
    """Their shape does, and so do covariates: networks are found again after ``pm.set_data``."""
    y = np.linspace(-2, 2, 6)
    before = parts(build(y))
    assert parts(build(y**2)) == before
    model = build(y)
    with model:
        pm.set_data({"values": (3 * y).astype(model["values"].dtype)})
    assert parts(model) == before
    assert parts(build(np.linspace(-2, 2, 7))) != before
    if "x" in model.named_vars:
        with model:
            pm.set_data({"x": y + 1})
        assert parts(model) != before


@pytest.mark.parametrize("name", CHANGES)
def test_everything_else_does(name):
    change, expected = CHANGES[name]
    assert differing(parts(mixture()), parts(mixture(**change))) == expected


def test_weights_sizes_and_masks():
    base = parts(mixture())
    assert "indicator 'y_component'" in differing(base, parts(mixture(w=(0.4, 0.6))))
    assert "observation 'y'" in differing(base, parts(mixture(y=(0.0, 1.0), x=(1.0, 2.0))))


def custom(random):
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.CustomDist("y", mu, random=random, observed=np.zeros(3))
    return parts(model)


CONSTANT = 1.0


def by_global(mu, rng=None, size=None):
    return rng.normal(mu, CONSTANT, size=size)


def closing_over(thing):
    def random(mu, rng=None, size=None):
        noise = rng.normal(mu, size=size)
        return thing(noise) if callable(thing) else noise + thing

    return random


def test_code_is_part_of_it(monkeypatch):
    before = custom(by_global)
    assert before == custom(by_global)
    monkeypatch.setattr(sys.modules[__name__], "CONSTANT", 2.0)
    assert differing(before, custom(by_global)) == ["observation 'y'"]


SPLINES = [CubicSpline([0, 1, 2], [0, 1, slope]) for slope in (3.0, 4.0)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (closing_over(1.0), closing_over(2.0)),
        (closing_over(np.arange(3.0)), closing_over(np.arange(3.0) + 1)),
        (closing_over(SPLINES[0]), closing_over(SPLINES[1])),
        (closing_over(lambda x: x), closing_over(lambda x: 2 * x)),
        (functools.partial(by_global), functools.partial(by_global, size=(3,))),
    ],
    ids=["numbers", "arrays", "objects of a library", "functions", "partial"],
)
def test_what_code_holds_is_part_of_it(one, other):
    assert custom(one) == custom(one)
    assert custom(one) != custom(other)


def test_what_cannot_be_stored_is_never_found_again():
    random = closing_over(open(__file__).write)  # noqa: SIM115
    assert custom(random) != custom(random)


def test_the_same_in_another_process():
    """Which hashes strings by another seed, and imports this module otherwise than pytest does."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from tests.model.test_fingerprint import custom, by_global, mixture, parts\n"
        "print(sorted({**parts(mixture()), **custom(by_global)}.items()))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout
    assert there == f"{sorted({**parts(mixture()), **custom(by_global)}.items())}\n"


@pytest.mark.usefixtures("interpreted")
def test_what_has_run_is_what_it_was():
    """A scan counts how long it runs, and one operation may stand for all that are alike."""

    def build():
        with pm.Model() as model:
            P = pm.Dirichlet("P", np.ones((2, 2)))
            first = pm.Categorical.dist([0.5, 0.5])
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(5,))
            pm.Normal("y", z, 1, observed=np.zeros(5))
        return model

    before, model = parts(build()), build()
    for name in ("z", "y"):
        pm.draw(model[name], 3, random_seed=1, mode=reference_mode())
    assert parts(model) == parts(build()) == before
