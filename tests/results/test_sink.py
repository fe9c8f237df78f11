"""Where results are written: room for all data sets, filled as answers come."""

import numpy as np
import pytest

from pymc_amortized.results.sink import MemorySink, Room


def test_what_is_not_written_is_the_filler():
    sink = MemorySink(3)
    sink.make_room("posterior", "mu", Room((2, 4), np.dtype(float), np.nan))
    sink.write("posterior", "mu", 1, np.ones((2, 3)))
    [mu] = sink.arrays("posterior").values()
    assert mu.shape == (3, 2, 4)
    assert np.isnan(mu[[0, 2]]).all()
    assert (mu[1, :, :3] == 1).all()
    assert np.isnan(mu[1, :, 3]).all()


def test_groups_are_apart():
    sink = MemorySink(1)
    sink.make_room("posterior", "z", Room((), np.dtype("int8"), -1))
    assert sink.holds("posterior", "z")
    assert not sink.holds("sample_stats", "z")
    assert sink.arrays("sample_stats") == {}
    assert sink.arrays("posterior")["z"].dtype == np.int8


def test_values_that_have_no_room_are_refused():
    sink = MemorySink(1)
    sink.make_room("posterior", "mu", Room((2,), np.dtype(float), np.nan))
    with pytest.raises(ValueError, match="broadcast"):
        sink.write("posterior", "mu", 0, np.ones(3))
    with pytest.raises(KeyError):
        sink.write("posterior", "sigma", 0, np.ones(2))
