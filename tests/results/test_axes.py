"""Names of axes and their coordinates."""

import functools

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.inference.indicators.conditional import IndicatorDraws
from pymc_amortized.results.axes import ModelAxes, dataset_of, probability_tables, viterbi_name
from tests.trained import chain, mixture, simulate_chain

pytestmark = pytest.mark.usefixtures("interpreted")
NUM_UNITS = 5


def two_indicators():
    """Indicators of 2 and of 3 values, for units that are rows of one table."""
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.4, shape=NUM_UNITS)
        u = pm.Categorical("u", [0.2, 0.3, 0.5], shape=NUM_UNITS)
        pm.Normal("y", 2.0 * z, 1, observed=np.zeros(NUM_UNITS))
        pm.Normal("x", 1.0 * u, 1, observed=np.zeros(NUM_UNITS))
    return model


def wrong_coords():
    """Three names for what has two components."""
    with pm.Model(coords={"component": ["a", "b", "c"]}) as model:
        z = pm.Bernoulli("z", 0.4, shape=NUM_UNITS)
        pm.Normal("y", 2.0 * z, 1, observed=np.zeros(NUM_UNITS))
    return model


def named_groups():
    """Weights with dims of their own: of a mixture, and of a categorical variable."""
    coords = {"group": ["g0", "g1"], "kind": ["x", "y", "z"], "person": list("abcde")}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.ones(2), dims="group")
        v = pm.Dirichlet("v", np.ones(3), dims="kind")
        mu = pm.Normal("mu", [-1, 1], 1, dims="group")
        nu = pm.Normal("nu", [-1, 0, 1], 1, dims="kind")
        pm.NormalMixture("y", w, mu, 1, observed=np.zeros(NUM_UNITS), dims="person")
        z = pm.Categorical("z", v, dims="person")
        pm.Normal("x", nu[z], 1, observed=np.zeros(NUM_UNITS), dims="person")
    return model


def marginalized():
    """As pymc-extras has it, which knows the dims that z had."""
    coords = {"group": ["g0", "g1"], "person": list("abcde")}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.ones(2), dims="group")
        z = pm.Categorical("z", w, dims="person")
        pm.Normal("y", 2.0 * z, 1, observed=np.zeros(NUM_UNITS))
    return pmx.marginalize(model, ["z"])


MODELS = {
    "named groups": named_groups,
    "marginalized": marginalized,
    "mixture": lambda: mixture(np.zeros(NUM_UNITS)),
    "chain": lambda: chain(simulate_chain(NUM_UNITS, 1)[1]),
    "two indicators": two_indicators,
    "wrong coords": wrong_coords,
}


@functools.lru_cache
def simulator(name):
    return pma.compile_simulator(MODELS[name](), device="cpu")


def axes_of(name, shapes=(), **leading):
    return ModelAxes(simulator(name), shapes, leading)


def test_axes_have_the_names_and_coordinates_of_the_model():
    values = np.arange(2 * 3 * 2.0).reshape(2, 3, 2)
    axes = axes_of("mixture", chain=2, draw=3)
    found = axes.array("mu", values, ("component",), ("chain", "draw"))
    assert found.name == "mu"
    assert found.dims == ("chain", "draw", "component")
    assert found["component"].values.tolist() == ["c0", "c1"]
    assert found["draw"].values.tolist() == [0, 1, 2]
    assert float(found.sel(chain=1, draw=2, component="c0")) == values[1, 2, 0]
    of_units = axes.array("y", np.zeros(NUM_UNITS), ("unit",))
    assert of_units["unit"].values.tolist() == [100, 101, 102, 103, 104]


def test_axes_without_names_are_called_as_in_arviz():
    found = axes_of("mixture", draw=3).array("a", np.zeros((3, 2, 4)), None, ["draw"])
    assert found.dims == ("draw", "a_dim_0", "a_dim_1")
    assert found["a_dim_1"].values.tolist() == [0, 1, 2, 3]
    partly = axes_of("mixture").array("a", np.zeros((2, 4)), ("component", None))
    assert partly.dims == ("component", "a_dim_1")


def test_coordinates_of_another_length_are_not_those_of_the_model():
    """As where a data set has more units than the model."""
    found = axes_of("mixture").array("y", np.zeros(7), ("unit",))
    assert found.dims == ("unit",)
    assert found["unit"].values.tolist() == list(range(7))


def test_one_name_for_axes_of_different_lengths_is_not_used():
    shapes = [(("unit", "component"), (5, 2)), (("unit",), (7,)), (None, (9,))]
    axes = axes_of("mixture", shapes)
    longer = axes.array("y", np.zeros(7), ("unit",))
    shorter = axes.array("x", np.zeros((5, 2)), ("unit", "component"))
    assert longer.dims == ("y_dim_0",)
    assert shorter.dims == ("x_dim_0", "component")
    assert set(dataset_of([longer, shorter]).sizes.values()) == {7, 5, 2}


@pytest.mark.parametrize(
    ("model", "indicator", "dim", "coordinate"),
    [
        ("mixture", "y_component", "component", ["c0", "c1"]),
        ("chain", "z", "state", ["low", "high"]),
        ("two indicators", "z", "z_value", [0, 1]),
        ("two indicators", "u", "u_value", [0, 1, 2]),
        ("wrong coords", "z", "z_value", [0, 1]),
    ],
)
def test_probabilities_have_an_axis_for_values_of_the_indicator(model, indicator, dim, coordinate):
    axes = axes_of(model, dataset=2)
    table = np.random.default_rng(0).dirichlet(np.ones(len(coordinate)), (2, NUM_UNITS))
    found = axes.probabilities(indicator, table, ["dataset"], "of_indicator")
    assert found.name == "of_indicator"
    assert found.dims[0] == "dataset"
    assert found.dims[-1] == dim
    assert found[dim].values.tolist() == coordinate
    assert np.array_equal(found.values, table)
    assert axes.probabilities(indicator, table[0]).name == indicator


@pytest.mark.parametrize(
    ("model", "indicator", "dim"),
    [
        ("named groups", "y_component", "group"),
        ("named groups", "z", "kind"),
        ("marginalized", "z", "group"),
    ],
)
def test_probabilities_have_the_dim_of_the_weights(model, indicator, dim):
    axes = axes_of(model)
    labels = axes.coords[dim]
    found = axes.probabilities(indicator, np.full((NUM_UNITS, len(labels)), 0.5))
    assert found.dims == ("person", dim)
    assert found[dim].to_numpy().tolist() == labels.tolist()
    assert found["person"].to_numpy().tolist() == list("abcde")


def test_tables_of_chains_are_named_by_what_they_are_given():
    spec = simulator("chain").spec
    smoothing, filtering = torch.rand(5, 2), torch.rand(5, 2)
    drawn = IndicatorDraws(torch.zeros(3, 5), smoothing, 0.0, filtering)
    [z] = spec.indicators
    tables = probability_tables(spec, z, drawn)
    assert tables == {"smoothing": smoothing, "filtering": filtering}
    assert viterbi_name(spec, z) == "viterbi"


def test_tables_are_told_apart_where_there_are_several_indicators():
    spec = simulator("two indicators").spec
    z = next(i for i in spec.indicators if i.name == "z")
    smoothing, filtering = torch.rand(5, 2), torch.rand(5, 2)
    drawn = IndicatorDraws(torch.zeros(3, 5), smoothing, 0.0, filtering)
    assert set(probability_tables(spec, z, drawn)) == {"z_smoothing", "z_filtering"}
    assert viterbi_name(spec, z) == "z_viterbi"
    independent = IndicatorDraws(torch.zeros(3, 5), smoothing, 0.0)
    assert probability_tables(spec, z, independent) == {"z": smoothing}
