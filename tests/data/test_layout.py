"""Data of other sizes, with gaps, or changed: what cannot be answered is refused by name."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidDataError,
    ModelReadingError,
    UnsupportedModelError,
)

X = np.array([1.0, 2.0, 3.0, 4.0])
BRIEF = pma.TrainingConfig(steps=2, tolerance=None, num_validation=32, batch_size=32)
FIT = {"training": BRIEF, "random_seed": 1, "progressbar": False, "cache": False}
DRAW = {"draws": 5, "chains": 1, "correction": "none", "random_seed": 1}


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


def built(define):
    with pm.Model() as model:
        define()
    return model


def layout_of(define, sizes=None):
    simulator = pma.compile_simulator(built(define), device="cpu")
    return simulator, DataLayout(simulator.spec, simulator.covariates, sizes)


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


def test_integer_covariates_are_not_truncated():
    def define():
        x = pm.Data("x", np.array([1, 2, 3, 4]))
        b = pm.Normal("b", 0, 1)
        pm.Normal("y", b * x, 1, observed=X)

    simulator, layout = layout_of(define, {"y": (1, 4)})
    dataset = read_dataset(layout, simulator.observed_data, {"y": X, "x": [2.0, 1.0, 3.0, 4.0]})
    assert dataset.covariates["x"].tolist() == [2, 1, 3, 4]
    with pytest.raises(InvalidDataError, match="Expected integers for 'x'"):
        read_dataset(layout, simulator.observed_data, {"y": X, "x": X + 0.9})


def test_an_index_out_of_range():
    def define():
        group = pm.Data("group", np.array([0, 1, 2, 0]))
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", b[group], 1, observed=X)

    posterior = pma.fit(built(define), sizes={"y": (2, 8)}, **FIT)
    assert posterior.sample({"y": X, "group": [0, 1, 2, 2]}, **DRAW).posterior["b"].shape[-1] == 3
    with pytest.raises(InvalidDataError, match="out of range"):
        posterior.sample({"y": X, "group": [0, 1, 7, 2]}, **DRAW)


def test_data_that_were_changed_are_not_answered_silently():
    with pm.Model() as model:
        x = pm.Data("x", X)
        y = pm.Data("values", X)
        b = pm.Normal("b", 0, 1)
        pm.Deterministic("mean", b * x)
        pm.Normal("y", b * x, 1, observed=y)
    posterior = pma.fit(model, **FIT)
    before = posterior.sample(**DRAW).posterior["mean"]
    with model:
        pm.set_data({"values": X + 3})
    with pytest.raises(InvalidDataError, match=r"'values'.*changed"):
        posterior.sample(**DRAW)
    with pytest.warns(UserWarning, match="left out"):
        posterior.sample({"y": X}, **DRAW)
    with model:
        pm.set_data({"values": X, "x": 5 * X})
    with pytest.raises(InvalidDataError, match=r"'x'.*changed"):
        posterior.sample({"y": X}, **DRAW)
    with model:
        pm.set_data({"x": X})
    assert np.array_equal(before, posterior.sample(**DRAW).posterior["mean"])


def test_a_simulator_stays_with_the_data_that_it_has_read():
    with pm.Model() as model:
        x = pm.Data("x", X)
        b = pm.Normal("b", 0, 1)
        pm.Deterministic("mean", b * x)
        pm.Normal("y", b * x, 1, observed=X)
    simulator = pma.compile_simulator(model, device="cpu")
    draws = simulator.sample(3, 1)
    before = simulator.deterministics(draws.parameters)["mean"]
    with model:
        pm.set_data({"x": 5 * X})
    assert (simulator.deterministics(draws.parameters)["mean"] == before).all()
    assert (simulator.sample(3, 1).observations["y"] == draws.observations["y"]).all()
    with pytest.raises(ModelReadingError, match="'x'"):
        _ = simulator.density


def test_a_name_that_is_taken():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.Deterministic("y_component", mu * 2)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1, observed=X)
    posterior = pma.fit(model, **FIT).sample(**DRAW).posterior
    assert posterior["y_component"].shape == (1, 5, 2)
    assert posterior["y_component_"].shape == (1, 5, 4)


def test_dims_of_several_lengths_and_supports_are_kept_apart():
    with pm.Model(coords={"unit": list("abcd")}) as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, dims="unit")
        t = pm.DiscreteUniform("t", 1, 3, dims="unit")
        pm.Normal("y", mu[z], 1, observed=X, dims="unit")
        pm.Normal("u", mu[0] * t, 1, observed=X, dims="unit")
    posterior = pma.fit(model, sizes={"y": (2, 8), "u": (2, 8)}, **FIT)
    own = posterior.sample(**DRAW)
    assert own.posterior["t"].dims[-1] == own.posterior["z"].dims[-1] == "unit"
    idata = posterior.sample({"y": np.arange(6.0), "u": np.arange(5.0)}, **DRAW)
    assert idata.posterior["t"].dtype.kind == "i"
    assert idata.posterior["z"].shape == (1, 5, 6)
    assert idata.observed_data["u"].shape == (5,)
    assert dict(idata.indicator_probabilities["z"].sizes) == {"z_dim_0": 6, "z_value": 2}
    assert idata.indicator_probabilities["t"]["t_value"].values.tolist() == [1, 2, 3]


def test_units_along_a_dim_named_component():
    with pm.Model(coords={"component": ["a", "b"]}) as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, dims="component")
        pm.Normal("y", mu[z], 1, observed=[1.0, 2.0], dims="component")
    idata = pma.fit(model, **FIT).sample(**DRAW)
    assert idata.indicator_probabilities["z"].dims == ("component", "z_value")


def test_priors_that_reach_the_edge_of_their_support():
    with pm.Model() as model:
        concentration = pm.Gamma("concentration", 2, 2)
        v = pm.Beta("v", 1, concentration, shape=2)
        w = pt.concatenate([v, [1.0]]) * pt.concatenate([[1.0], pt.cumprod(1 - v)])
        mu = pm.Normal("mu", 0, 1, shape=3)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=X)
    simulator = pma.compile_simulator(model, device="cpu")
    v = simulator.sample(20_000, 1).parameters["v"]
    assert bool((v == 1).any())  # so that the test tests something
    config = pma.TrainingConfig(steps=40, tolerance=None, num_validation=512, batch_size=512)
    posterior = pma.fit(model, **{**FIT, "training": config})
    assert posterior.record.skipped == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        assert np.isfinite(posterior.sample(**DRAW).sample_stats["lp"]).all()


def test_missing_units_have_the_prior_of_their_own_covariates():
    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 0.1, size=size)

    with pm.Model() as model:
        x = pm.Data("x", np.linspace(-1, 1, 4))
        b = pm.Normal("b", 0, 0.01)
        z = pm.Bernoulli("z", pm.math.sigmoid(b + 3 * x), shape=4)
        pm.CustomDist("y", 2.0 * z, random=draw, observed=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no density, and no torch for numpy's draws
        posterior = pma.fit(model, sizes={"y": (2, 8)}, **FIT)
        given = {"y": np.ma.array(np.ones(6), mask=[0, 1, 0, 0, 0, 0]), "x": np.full(6, 0.4)}
        probabilities = posterior.indicator_probabilities(given, random_seed=1)["z"]
    assert abs(float(probabilities[1, 1]) - 1 / (1 + np.exp(-1.2))) < 0.01
