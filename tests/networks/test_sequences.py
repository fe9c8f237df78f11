"""Sequences of any length: their density, and simulations of them."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.frames import stack_frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.simulation.training_data import SimulationSource
from tests.model import test_marginal
from tests.networks.resizable_chains import BUILT, resizable
from tests.trained import simulate_chain

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning"),
]


def read(simulator, layout, y):
    data = {"y": np.ma.masked_invalid(y)}
    return read_dataset(layout, simulator.observed_data, data)


@pytest.mark.parametrize("name", BUILT)
def test_sequences_of_any_length(name):
    """Their density is that of the model built at their length, alone and in a batch."""
    simulator, layout, others = resizable(name)
    vectors = test_marginal.draws_of(simulator)
    parameters = simulator.parameters.constrain(vectors)
    batched = {n: x.unsqueeze(1) for n, x in parameters.items()}
    exact = ExactModel(simulator.density, layout)
    frames = [read(simulator, layout, y).frames for y in others]
    expected = []
    for y, one in zip(others, frames, strict=True):
        there = pma.compile_simulator(BUILT[name][0](y), device="cpu")
        expected.append(there.density.log_marginal(parameters, {"y": np.nan_to_num(y)}))
        alone = exact.log_marginal(batched, one)[:, 0]
        assert torch.allclose(alone, expected[-1], rtol=1e-10)
    together = exact.log_marginal(
        {n: x.expand(-1, len(others), *x.shape[2:]) for n, x in batched.items()},
        stack_frames(frames),
    )
    assert torch.allclose(together, torch.stack(expected, 1), rtol=1e-10)


@pytest.mark.parametrize("name", BUILT)
def test_the_same_in_pytensor(name):
    simulator, layout, others = resizable(name)
    vectors = test_marginal.draws_of(simulator)
    model, function = test_marginal.prepare(simulator, framed=True)
    for y in others[-2:]:
        frames = read(simulator, layout, y).frames
        values, gradients = test_marginal.evaluate(model, function, layout, frames, vectors)
        expected = test_marginal.in_torch(simulator, layout, frames, vectors)
        assert np.allclose(values, expected, rtol=1e-8)
        assert np.isfinite(gradients).all()


def test_covariates_go_along_with_time():
    """Given anew with sequences of other lengths, and seen by the networks at their own time."""
    x = np.linspace(-1, 1, 8)

    def with_covariate(y, x):
        with pm.Model() as model:
            x = pm.Data("x", x)
            slope = pm.Normal("slope", 0, 2)
            mu = pm.Normal("mu", [-1, 1], 1)
            P = np.array([[0.9, 0.1], [0.2, 0.8]])
            first = pm.Categorical.dist([0.5, 0.5])
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(len(y),))
            pm.Normal("y", mu[z] + slope * x, 1, observed=y)
        return model

    base = simulate_chain(8, 0)[1]
    simulator = pma.compile_simulator(with_covariate(base, x), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (2, 40)})
    parameters = simulator.parameters.constrain(test_marginal.draws_of(simulator))
    exact = ExactModel(simulator.density, layout)
    for num_times in (5, 8, 21):
        y = simulate_chain(num_times, num_times)[1]
        other = np.random.default_rng(num_times).normal(size=num_times)
        data = {"y": y, "x": other}
        frames = read_dataset(layout, simulator.observed_data, data).frames
        there = pma.compile_simulator(with_covariate(y, other), device="cpu")
        expected = there.density.log_marginal(parameters, {"y": y})
        found = exact.log_marginal({n: v.unsqueeze(1) for n, v in parameters.items()}, frames)
        assert torch.allclose(found[:, 0], expected, rtol=1e-10)
        [units] = layout.units(frames)
        assert np.allclose(units.values[0, :, 0], y)
        assert np.allclose(units.values[0, :, 1], other)
    # Simulated sequences keep the covariate's own order, from any row on.
    source = SimulationSource(simulator, layout, simulator.parameters)
    [units] = layout.units(source.draw_frames(50, 1)[1])
    for values, mask in zip(units.values, units.mask, strict=True):
        found = values[mask][:, 1].numpy()
        start = int(np.abs(x - found[0]).argmin())
        assert np.allclose(found, x[(start + np.arange(len(found))) % 8])
