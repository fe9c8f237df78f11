"""Indicators of a posterior without them, drawn afterwards."""

import numpy as np
import pymc as pm
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import (
    InvalidDataError,
    ParameterShapeError,
    UnsupportedModelError,
)
from tests.inference.test_markov_states import forward_backward
from tests.labels.switched import (
    NUM_DRAWS,
    NUM_UNITS,
    exact_probabilities,
    mixture,
    posterior_group,
    result,
    with_indicators,
)
from tests.trained import chain, simulate_chain


@pytest.mark.parametrize("build", [result_of_groups, xarray.DataTree.from_dict])
def test_indicators_of_a_marginal_mixture_are_exact(build):
    before = result(build)
    copy = result(build)
    found = pma.add_indicators(before, mixture(), random_seed=1)
    exact = exact_probabilities(found["posterior"])
    table = found["indicator_probabilities"]["y_component"]
    assert table.dims == ("unit", "component")
    assert np.abs(table.to_numpy() - exact.mean((0, 1))).max() < 1e-10
    z = found["indicators"]["y_component"]
    assert z.dims == ("chain", "draw", "unit")
    assert z["draw"].to_numpy().tolist() == (2 * np.arange(NUM_DRAWS)).tolist()
    assert z["chain"].to_numpy().tolist() == [3, 7]
    assert z["unit"].to_numpy().tolist() == (np.arange(NUM_UNITS) + 10).tolist()
    # Each draw is of its own parameters: with them known, z is nearly so.
    hit = np.take_along_axis(exact, z.to_numpy()[..., None], axis=-1)
    expected, spread = np.square(exact).sum(-1).mean(), exact.size**-0.5
    assert abs(hit.mean() - expected) < 4.5 * spread
    # What was there is there as it was, and the input is unchanged.
    assert found["posterior"].attrs["made"] == "by hand"
    for name, group in groups_of_result(copy).items():
        assert groups_of_result(before)[name].identical(group)
        assert group.equals(groups_of_result(found)[name][list(group.data_vars)])
    assert type(found) is type(result_of_groups({"posterior": posterior_group()}))


def test_indicators_that_are_there_are_kept():
    first = with_indicators()
    again = pma.add_indicators(first, mixture(), random_seed=2)
    z = again["indicators"]["y_component"]
    assert z.equals(first["indicators"]["y_component"])


def test_states_of_a_chain():
    _, y = simulate_chain(30, 3)
    rng = np.random.default_rng(0)
    mu, stay = rng.normal(0.5, 0.1, (2, 100)), rng.beta(30, 6, (2, 100))
    posterior = xarray.Dataset({"mu": (("chain", "draw"), mu), "stay": (("chain", "draw"), stay)})
    idata = xarray.DataTree.from_dict({"posterior": posterior})
    model = chain(y)
    found = pma.add_indicators(idata, model, random_seed=1)
    _, alpha, gamma, _ = forward_backward(y, mu.ravel(), stay.ravel())
    tables = found["indicator_probabilities"]
    assert np.abs(tables["smoothing"].to_numpy() - gamma.mean(0)).max() < 1e-10
    assert np.abs(tables["filtering"].to_numpy() - alpha.mean(0)).max() < 1e-10
    assert tables["viterbi"].dims == ("time",)
    z = found["indicators"]["z"]
    assert z.dims == ("chain", "draw", "time")
    error = np.sqrt(gamma.mean(0)[:, 1] * gamma.mean(0)[:, 0] / 200)
    assert (np.abs(z.mean(("chain", "draw")) - gamma.mean(0)[:, 1]) < 4.5 * error + 0.01).all()


def test_deterministics_of_indicators_are_added():
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        z = pm.Bernoulli("z", p, shape=3)
        pm.Deterministic("how_many", z.sum())
        pm.Normal("y", 3.0 * z, 1, observed=[0.0, 3.0, 3.1])
    posterior = xarray.Dataset({"p": (("chain", "draw"), np.full((1, 50), 0.5))})
    idata = xarray.DataTree.from_dict({"posterior": posterior})
    found = pma.add_indicators(idata, model, random_seed=1)
    how_many = found["indicators"]["z"].sum("z_dim_0")
    assert np.array_equal(found["posterior"]["how_many"], how_many)


def without(name):
    def change(groups):
        groups["posterior"] = groups["posterior"].drop_vars(name)

    return change


def reshaped(groups):
    groups["posterior"] = groups["posterior"].isel(component=slice(2))


def not_finite(groups):
    groups["posterior"]["mu"][0, 0, 0] = np.nan


def other_data(groups):
    groups["observed_data"] = groups["observed_data"] + 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (without("mu"), ParameterShapeError, r"got none of \['mu'\]"),
        (reshaped, ParameterShapeError, r"'w' of shape \(3,\)"),
        (not_finite, ParameterShapeError, "'mu' is NaN"),
        (other_data, InvalidDataError, "posterior of the model's own data"),
    ],
)
def test_posteriors_of_other_models_are_refused(change, error, match):
    groups = {name: group.copy(deep=True) for name, group in groups_of_result(result()).items()}
    change(groups)
    with pytest.raises(error, match=match):
        pma.add_indicators(result_of_groups(groups), mixture())


def test_models_without_indicators_are_refused():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[0.0])
    with pytest.raises(UnsupportedModelError, match="no indicator to add"):
        pma.add_indicators(result(), model)
    for wrong in (posterior_group(), {"mu": 1.0}, xarray.DataTree()):
        with pytest.raises(InvalidDataError, match="group 'posterior'"):
            pma.add_indicators(wrong, mixture())
