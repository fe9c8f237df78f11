"""Values that a user gives, checked."""

import contextlib

import numpy as np
import pymc as pm
import pytest
import torch

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.errors import (
    InvalidDataError,
    ObservationShapeError,
)
from tests.data.read_models import N, layouts, paired, regression, scalar


def counts():
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=N)
        pm.Poisson("y", rate[z], observed=np.zeros(N, dtype=int))
    return model


GOOD = np.linspace(-1, 1, N)


def with_(value, place=3, of=GOOD):
    changed = np.array(of, dtype=object if isinstance(value, str) else float)
    changed[place] = value
    return changed


REFUSED = {
    "inf": (scalar, {"y": with_(np.inf)}, InvalidDataError, "infinite"),
    "text": (scalar, {"y": with_("a")}, InvalidDataError, "numbers"),
    "complex": (scalar, {"y": GOOD + 1j}, InvalidDataError, "numbers"),
    "no name": (scalar, GOOD, InvalidDataError, "by name"),
    "unknown name": (scalar, {"y": GOOD, "x": GOOD}, InvalidDataError, "'x'"),
    "nothing": (scalar, {}, InvalidDataError, "every observed variable"),
    "empty": (scalar, {"y": np.zeros(0)}, ObservationShapeError, "empty"),
    "two axes": (scalar, {"y": GOOD[:, None]}, ObservationShapeError, "shape"),
    "too many": (scalar, {"y": np.zeros(N + 1)}, ObservationShapeError, "got 11"),
    "too few": (scalar, {"y": np.zeros(N - 1)}, ObservationShapeError, "got 9"),
    "too few known": (
        scalar,
        {"y": np.ma.masked_array(GOOD, np.arange(N) < 2)},
        ObservationShapeError,
        "got 8",
    ),
    "fractions": (counts, {"y": GOOD + 1}, InvalidDataError, "integers"),
    "other covariates": (regression, {"y": GOOD, "x": GOOD}, InvalidDataError, "sizes="),
    "one of two": (paired, {"a": GOOD}, InvalidDataError, "'b'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    build, data, error, words = REFUSED[name]
    simulator, layout = layouts(build)
    with pytest.raises(error, match=words) as caught:
        read_dataset(layout, simulator.observed_data, data)
    assert isinstance(caught.value, ValueError)
    assert "Expected" in str(caught.value)


@pytest.mark.parametrize("mask", [False, True])
def test_nan_are_missing_values_as_in_a_models_own_data(mask):
    """A network for ten units refuses nine; where any number will do, they are answered."""
    simulator, layout = layouts(scalar)
    y = with_(np.nan)
    data = {"y": np.ma.masked_invalid(y) if mask else y}
    said = contextlib.nullcontext() if mask else pytest.warns(UserWarning, match="NaN in the data")
    with said:
        dataset = read_dataset(layout, simulator.observed_data, data, any_size=True)
    assert int(dataset.frames.selected[0].sum()) == N - 1
    np.testing.assert_array_equal(dataset.observations["y"], y)
    said = contextlib.nullcontext() if mask else pytest.warns(UserWarning, match="NaN in the data")
    with said, pytest.raises(ObservationShapeError, match="got 9"):
        read_dataset(layout, simulator.observed_data, data)


def test_integers_and_lists_are_taken_for_floats():
    simulator, layout = layouts(scalar)
    dataset = read_dataset(layout, simulator.observed_data, {"y": list(range(N))})
    assert dataset.frames.observations["y"].dtype == torch.float64
