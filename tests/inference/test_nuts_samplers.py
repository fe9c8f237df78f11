"""Samplers that run one model for many data sets, and stop when time is out."""

import sys
import time

import numpy as np
import pytest

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.correction.framed import framed_data
from pymc_amortized.inference.correction.nuts_samplers import nuts_sampler
from pymc_amortized.inference.watch import OutOfTimeError, Watch
from pymc_amortized.model.density.marginal import MarginalModel
from tests.trained import data, normal_mean

ONE = {"seeds": [1, 2]}


@pytest.fixture(scope="module")
def setup():
    """A conjugate mean, and the arrays of its own data."""
    simulator = pma.compile_simulator(normal_mean(data()), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, None)
    frames = read_dataset(layout, simulator.observed_data, None).frames
    model = MarginalModel(simulator.density, [()], framed=False)
    return model, model.arrays(framed_data(layout, frames), np.zeros(1), np.eye(1))


@pytest.fixture(scope="module", params=["nutpie", "pymc"])
def sampler(request, setup):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pymc":
            patch.setitem(sys.modules, "nutpie", None)
        found = nuts_sampler(setup[0])
    assert found.name == request.param
    return found


def test_draws(setup, sampler):
    options = {**ONE, "watch": Watch()}
    u, diverging = sampler.run(setup[1], np.zeros((2, 1)), draws=1_000, tune=200, **options)
    assert u.shape == (2, 1_000, 1)
    assert diverging.shape == (2, 1_000)
    y = data()
    precision = len(y) + 1 / 4
    assert abs(u.mean() - y.sum() / precision) < 0.1 * precision**-0.5
    assert abs(u.std() * precision**0.5 - 1) < 0.1


def test_time_that_runs_out(setup, sampler):
    """Long before draws that take minutes are there; what comes after is not disturbed."""
    started = time.perf_counter()
    with pytest.raises(OutOfTimeError):
        sampler.run(setup[1], np.zeros((2, 1)), draws=2_000_000, tune=100, watch=Watch(0.3), **ONE)
    assert time.perf_counter() - started < 10
    u, _ = sampler.run(setup[1], np.zeros((2, 1)), draws=20, tune=20, watch=Watch(), **ONE)
    assert u.shape == (2, 20, 1)


def test_bad_starts(setup, sampler):
    with pytest.raises(pma.errors.UnsupportedModelError, match="where chains start"):
        sampler.run(setup[1], np.full((2, 1), np.inf), draws=5, tune=10, watch=Watch(), **ONE)
