"""Many data sets, as they are given."""

import numpy as np
import pytest

from pymc_amortized.errors import (
    InvalidDataError,
)
from tests.inference.answered import sample_many
from tests.trained import NUM_UNITS


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ([], "an empty one"),
        (np.zeros((3, NUM_UNITS)), "ndarray"),
        ({"y": 3.0}, "leading axis"),
        ({"y": np.zeros((0, NUM_UNITS))}, "leading axis"),
        ([{"x": np.zeros(NUM_UNITS)}], "neither observes"),
        ("y", "str"),
        ([np.zeros(NUM_UNITS)], "number 0 is a ndarray"),
        ({"y": [np.zeros(5), np.zeros(9)]}, "of one length"),
    ],
    ids=str,
)
def test_what_is_not_many_data_sets(trained, datasets, words):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidDataError, match=words):
        sample_many(posterior, datasets)
