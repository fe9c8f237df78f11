"""How observed variables are laid out in tables of units, and which can be resized."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.errors import (
    InvalidArgumentError,
    InvalidDataError,
    UnsupportedModelError,
)
from tests.data.laid_out import X, layout_of
from tests.data.read_models import layouts, paired, regression, scalar


def prior_of_covariates():
    x = pm.Data("x", X)
    b = pm.Normal("b", 0, 1 / x.std())
    pm.Normal("y", b * x, 1, observed=X)


def number_of_units():
    x = pm.Data("x", X)
    b = pm.Normal("b", 0, 1)
    pm.Normal("y", b * x / pt.sqrt(x.shape[0]), 1, observed=X)


def sum_elsewhere():
    x = pm.Data("x", X)
    b = pm.Normal("b", 0, 1)
    pm.Normal("y", b * x, 1, observed=X)
    pm.Normal("total", b * x.sum(), 2, observed=1.5)


def observed_on_observed():
    mu = pm.Normal("mu", 0, 2, shape=2)
    y = pm.Normal("y", mu[0], 1, observed=X)
    pm.Normal("u", mu[1] + y, 1, observed=X)


def long_format():
    mu = pm.Normal("mu", 0, 2, shape=2)
    z = pm.Bernoulli("z", 0.5, shape=4)
    pm.Normal("y", mu[z], 1, observed=X)
    pm.Normal("u", 2 * mu[z[np.array([0, 0, 1, 2, 3, 3, 1])]], 1, observed=np.ones(7))


REFUSED = {
    prior_of_covariates: "the prior of a parameter depends on the covariates",
    number_of_units: "calculates with their number",
    sum_elsewhere: "depend on each other's covariates",
    observed_on_observed: "observed variables depend on each other",
    long_format: "through another variable, with other rows",
}


@pytest.mark.parametrize("define", REFUSED, ids=lambda f: f.__name__)
def test_models_that_cannot_be_resized(define):
    layout_of(define)
    with pytest.raises(UnsupportedModelError, match=REFUSED[define]):
        layout_of(define, {"y": (2, 8)})


def test_numbers_of_columns_and_shapes_can_be_resized():
    def define():
        x = pm.Data("x", np.random.default_rng(0).normal(size=(4, 2)))
        b = pm.Normal("b", 0, 1 / x.shape[1], shape=x.shape[1])
        pm.Normal("y", x @ b + pt.zeros(x.shape[0]), 1, observed=X)

    assert layout_of(define, {"y": (2, 8)})[1].resized


def test_gaps_do_not_make_covariates_depend_on_each_other():
    def define():
        x = pm.Data("x", 1 + np.arange(6.0))
        b = pm.Normal("b", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=6)
        pm.Normal("y", b[z] * x, 1, observed=np.ma.array(np.ones(6), mask=[0, 1, 0, 0, 1, 0]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMC says that it imputes
        assert layout_of(define, {"y": (2, 8)})[1].resized


def test_one_covariate_cannot_be_in_two_places():
    def define():
        x = pm.Data("x", X)
        b = pm.Normal("b", 0, 1)
        pm.Normal("y", b * x, 1, observed=X)
        pm.Normal("u", -b * x, 1, observed=X)

    gap = np.ma.array(X, mask=[1, 0, 0, 0])
    simulator, layout = layout_of(define, {"y": (1, 4), "u": (1, 4)})
    read_dataset(layout, simulator.observed_data, {"y": gap, "u": gap, "x": X})
    with pytest.raises(InvalidDataError, match="'x' runs along both"):
        read_dataset(layout, simulator.observed_data, {"y": gap, "u": X, "x": X})


BAD_SIZES = [{"x": 5}, {"y": (5, 2)}, {"y": (0, 2)}, {"y": 2.5}, {"y": (1, 2, 3)}]


@pytest.mark.parametrize("sizes", BAD_SIZES, ids=str)
def test_bad_sizes(sizes):
    with pytest.raises(InvalidArgumentError, match="Expected"):
        layouts(scalar, sizes)


def test_conflicting_sizes():
    with pytest.raises(InvalidArgumentError, match="same units"):
        layouts(paired, {"a": 5, "b": 6})


def test_covariates_that_are_not_local_cannot_be_varied():
    with pytest.raises(UnsupportedModelError, match="mean"):
        layouts(lambda: regression(centered=True), {"y": (5, 20)})
    layouts(lambda: regression(centered=False), {"y": (5, 20)})
