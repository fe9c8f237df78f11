"""Streams, filtered point by point."""

import numpy as np
import pytest

from pymc_amortized.errors import (
    InvalidArgumentError,
)
from tests.inference.grid import forward_backward, grid, grid_posterior
from tests.trained import simulate_chain

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")


def test_a_stream_is_filtered_as_a_whole(trained):
    """Points that come later change weights of draws and filter as if all had been there."""
    _, posterior = trained("chain")
    _, y = simulate_chain(45, 11)
    stream = posterior.filter({"y": y[:30]}, draws=4_000, random_seed=1)
    first = stream.update({"y": y[30:31]})
    rest = stream.update({"y": y[31:]})
    assert first.dims == ("time", "state")
    assert first.coords["time"].values.tolist() == [30]
    assert rest.coords["time"].values.tolist() == list(range(31, 45))
    for t in (30, 37, 44):
        expected = grid_posterior(y[: t + 1])[1][-1]
        row = (first if t == 30 else rest).sel(time=t)
        assert np.abs(row - expected).max() < 0.03
    assert np.allclose(stream.probabilities, rest.sel(time=44))
    assert 100 < stream.ess <= 4_000
    # A missing point moves the chain on, and tells nothing.
    before, ess = stream.probabilities, stream.ess
    after = stream.update({"y": np.ma.masked_array([0.0], mask=[True])})
    assert not np.allclose(before, after)
    assert np.isclose(stream.ess, ess)


def test_forecasts(trained):
    """One step and many steps ahead, against the grid."""
    _, posterior = trained("chain")
    _, y = simulate_chain(30, 12)
    stream = posterior.filter({"y": y}, draws=8_000, random_seed=1)
    ahead = stream.forecast(40)
    assert ahead["y"].dims == ("sample", "time")
    assert ahead["y"].shape == (8_000, 40)
    assert ahead.coords["time"].values.tolist() == list(range(30, 70))
    mu, stay = grid()
    _, alpha, _, _ = forward_backward(y, mu, stay)
    p = grid_posterior(y)[0]
    state = alpha[:, -1]
    P = np.stack([np.stack([stay, 1 - stay], -1), np.broadcast_to([0.4, 0.6], (len(mu), 2))], 1)
    for step in range(40):
        state = (state[:, :, None] * P).sum(1)
        if step in (0, 3, 39):
            high = p @ state[:, 1]
            assert abs(float(ahead["z"][:, step].mean()) - high) < 4.5 * 0.5 / np.sqrt(2_000)
            mean = p @ (mu + 2.5 * state[:, 1])
            assert abs(float(ahead["y"][:, step].mean()) - mean) < 4.5 * 1.7 / np.sqrt(2_000)
    with pytest.raises(InvalidArgumentError, match="at least 1 step"):
        stream.forecast(0)
