"""A user's data: what is refused, with which words, and where rows go."""

import numpy as np
import pytest
import torch

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.ties import find_atoms, spread_ties
from pymc_amortized.errors import (
    InvalidDataError,
    ObservationShapeError,
)
from tests.data.read_models import N, layouts, paired, regression, scalar


def test_an_error_keeps_its_facts():
    simulator, layout = layouts(scalar, {"y": (5, 20)})
    with pytest.raises(ObservationShapeError) as caught:
        read_dataset(layout, simulator.observed_data, {"y": np.zeros(1000)})
    error = caught.value
    assert (error.variable, error.expected, error.got) == ("y", (5, 20), (1000,))
    assert "with 5 to 20 units, as in training; got 1,000" in str(error)
    assert 'pma.fit(model, sizes={"y": (5, 1000)})' in str(error)


def test_sizes_differ_between_variables_of_the_same_units():
    simulator, layout = layouts(paired, {"a": (5, 20)})
    with pytest.raises(ObservationShapeError, match="as many units"):
        read_dataset(layout, simulator.observed_data, {"a": np.zeros(7), "b": np.zeros(8)})
    assert (
        read_dataset(layout, simulator.observed_data, {"a": np.zeros(7), "b": np.zeros(7)})
        .frames.selected[0]
        .sum()
        == 7
    )


def test_new_covariates_and_sizes():
    simulator, layout = layouts(regression, {"y": (5, 20)})
    data = {"y": np.arange(13.0), "x": np.arange(13.0) / 10}
    dataset = read_dataset(layout, simulator.observed_data, data)
    [units] = layout.units(dataset.frames)
    rows = units.values[0][units.mask[0]]
    assert torch.equal(rows[:, 0] / 10, rows[:, 1])
    assert sorted(rows[:, 0].tolist()) == list(range(13))
    with pytest.raises(InvalidDataError, match="covariate 'x' for 13 units"):
        read_dataset(layout, simulator.observed_data, {"y": np.arange(13.0)})
    with pytest.raises(InvalidDataError, match=r"shape \(13,\)"):
        read_dataset(layout, simulator.observed_data, {"y": np.arange(13.0), "x": np.zeros(12)})


def test_the_models_own_data_are_the_default():
    simulator, layout = layouts(scalar)
    dataset = read_dataset(layout, simulator.observed_data)
    assert dataset.frames.observations["y"].shape == (1, 1, N)
    assert dataset.positions[0].tolist() == list(range(N))


def test_atoms():
    simulations = {"hurdle": np.array([[0.0, 1.5], [2.5, 0.0]]), "count": np.array([[1, 1]])}
    assert {name: x.tolist() for name, x in find_atoms(simulations).items()} == {"hurdle": [0.0]}


def test_spread_ties_keeps_what_is_not_tied():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 2))
    everything = np.ones(values.shape, dtype=bool)
    assert np.array_equal(spread_ties(values, everything, np.array([])), values)


def test_spread_ties_undoes_rounding():
    """The gaps of rounded values, spread, have the distribution of those never rounded."""
    rng = np.random.default_rng(0)
    whole = rng.normal(0, 6, size=400)
    rounded = np.round(whole)
    spread = spread_ties(rounded, np.ones(400, dtype=bool), np.array([]))
    assert len(np.unique(spread)) == 400
    assert np.abs(spread - rounded).max() <= 0.5
    gaps = [np.median(np.log(np.diff(np.sort(x)) + 1e-6)) for x in (whole, spread, rounded)]
    assert abs(gaps[0] - gaps[1]) < 0.2
    assert abs(gaps[0] - gaps[2]) > 1.0
    assert np.array_equal(spread, spread_ties(rounded, np.ones(400, dtype=bool), np.array([])))


def test_spread_ties_leaves_atoms_and_gaps_alone():
    values = np.array([0.0, 0.0, 0.0, 5.0, 5.0, 6.0, 99.0, 99.0])
    observed = np.arange(8) < 6
    spread = spread_ties(values, observed, np.array([0.0]))
    assert spread[:3].tolist() == [0.0, 0.0, 0.0]
    assert spread[6:].tolist() == [99.0, 99.0]
    assert spread[3] != spread[4]
