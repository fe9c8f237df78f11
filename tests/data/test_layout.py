"""Data of other sizes, with gaps, or changed: what cannot be answered is refused by name."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.errors import (
    InvalidDataError,
    ModelReadingError,
)
from tests.data.laid_out import DRAW, FIT, X, built, layout_of


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
    idata = pma.fit(model, **FIT).sample(**DRAW)
    assert idata.posterior["y_component"].shape == (1, 5, 2)
    assert idata.indicators["y_component_"].shape == (1, 5, 4)


def test_dims_of_several_lengths_and_supports_are_kept_apart():
    with pm.Model(coords={"unit": list("abcd")}) as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, dims="unit")
        t = pm.DiscreteUniform("t", 1, 3, dims="unit")
        pm.Normal("y", mu[z], 1, observed=X, dims="unit")
        pm.Normal("u", mu[0] * t, 1, observed=X, dims="unit")
    posterior = pma.fit(model, sizes={"y": (2, 8), "u": (2, 8)}, **FIT)
    own = posterior.sample(**DRAW)
    assert own.indicators["t"].dims[-1] == own.indicators["z"].dims[-1] == "unit"
    idata = posterior.sample({"y": np.arange(6.0), "u": np.arange(5.0)}, **DRAW)
    assert idata.indicators["t"].dtype.kind == "i"
    assert idata.indicators["z"].shape == (1, 5, 6)
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


def series():
    steps = pm.Normal("steps", 0, 1, shape=3)
    pm.Normal("y", steps.cumsum(), 1, observed=X[:3])


def one_event():
    mu = pm.Normal("mu", 0, 1, shape=3)
    pm.MvNormal("y", mu, np.eye(3), observed=X[:3])


def with_gaps():
    steps = pm.Normal("steps", 0, 1, shape=4)
    pm.Normal("y", steps.cumsum(), 1, observed=np.ma.masked_array(X, [False, True, False, False]))


@pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")
@pytest.mark.parametrize(
    ("define", "expected"),
    [(series, X[:3]), (one_event, X[:3]), (with_gaps, [X[0], np.nan, X[2], X[3]])],
)
def test_entries_that_cannot_be_permuted_are_one_vector(define, expected):
    simulator, layout = layout_of(define)
    dataset = read_dataset(layout, simulator.observed_data, None)
    [units], [shape] = layout.units(dataset.frames), layout.shapes
    assert shape.is_vector
    assert units.values.shape == (1, 1, shape.num_features)
    assert units.mask.tolist() == [[True]]
    np.testing.assert_array_equal(units.values[0, 0, -len(expected) :], expected)


def test_entries_that_can_be_permuted_or_varied_are_rows():
    def exchangeable():
        pm.Normal("y", pm.Normal("mu", 0, 1), 1, observed=X)

    def with_data():
        x = pm.Data("x", X)
        pm.Normal("y", pm.Normal("b", 0, 1) * x, 1, observed=X)

    for define, sizes in ((exchangeable, None), (exchangeable, {"y": 1}), (with_data, None)):
        _, layout = layout_of(define, sizes)
        assert not layout.tables[0].is_vector
        assert not layout.shapes[0].is_vector or sizes
