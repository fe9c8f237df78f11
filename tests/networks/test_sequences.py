"""Sequences of any length: their density, and simulations of them."""

import functools

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.frames import stack_frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import AccuracyWarning, UnsupportedModelError
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.simulation.training_data import SimulationSource
from tests.model import test_marginal
from tests.trained import chain, simulate_chain

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning"),
]


def chain_with_gaps(y):
    return chain(np.ma.masked_invalid(y))


def order_two(y):
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2, 2)))
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist([0.4, 0.6])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, n_lags=2, shape=(len(y),))
        pm.Normal("y", mu[z], 1, observed=y)
    return model


def replicates(y):
    with pm.Model() as model:
        stay = pm.Beta("stay", 2, 2)
        P = pt.stack([pt.stack([stay, 1 - stay]), pt.stack([1 - stay, stay])])
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist(pm.Dirichlet("first", np.ones(2)))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(len(y),))
        pm.Normal("y", mu[z][:, None], 1, observed=np.ma.masked_invalid(y))
    return model


def with_gaps(y, every):
    y = np.array(y, dtype=float)
    y[1::every] = np.nan
    return y


def matrix(num_times, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(num_times, 3))
    y[np.arange(3) > rng.integers(0, 3, num_times)[:, None]] = np.nan
    y[:3] = [[1, np.nan, np.nan], [1, 2, np.nan], [1, 2, 3]]
    return y


BUILT = {
    "plain": (chain, simulate_chain(8, 0)[1], [simulate_chain(n, n)[1] for n in (3, 8, 21)]),
    "gaps": (
        chain_with_gaps,
        with_gaps(simulate_chain(8, 0)[1], 3),
        [with_gaps(simulate_chain(n, n)[1], k) for n, k in ((5, 2), (8, 4), (21, 5))],
    ),
    "order two": (order_two, simulate_chain(8, 0)[1], [simulate_chain(n, n)[1] for n in (2, 19)]),
    "replicates": (replicates, matrix(8, 0), [matrix(n, n) for n in (4, 8, 20)]),
}


@functools.lru_cache
def resizable(name):
    build, base, others = BUILT[name]
    simulator = pma.compile_simulator(build(base), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (2, 40)})
    return simulator, layout, others


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


@pytest.mark.parametrize("name", BUILT)
def test_simulated_sequences_of_any_length(name):
    """Transitions are as frequent at the seams of frames as elsewhere, and y belongs to z."""
    simulator, layout, _ = resizable(name)
    table = layout.tables[0]
    source = SimulationSource(simulator, layout, simulator.parameters)
    parameters, frames, codes = source.draw_frames(20_000, 1)
    units = layout.units(frames)[0]
    z, mask = codes[0][..., 0], units.mask
    lengths = mask.sum(1)
    assert int(lengths.min()) >= 2
    assert int(lengths.max()) == 40
    assert bool((mask[:, :-1] >= mask[:, 1:]).all())
    order = table.indicator.order
    log_P = simulator.chain_distribution("z").log_transition(list(parameters.values()))
    P = log_P.exp()
    for t in (order, 7, 8, 9, 16, 30):
        long = lengths > t
        index = [torch.arange(len(z))[long], *(z[long, t - order + lag] for lag in range(order))]
        expected = P[tuple(index)][:, 1]
        found = z[long, t].double()
        error = (found - expected).mean() / (expected * (1 - expected)).mean().sqrt()
        assert abs(float(error)) < 4 / np.sqrt(int(long.sum()))
    # Observations are 1 wide around the mean of their state.
    y = units.values[..., 3 if name == "replicates" else 0]  # after three masks
    mu = parameters["mu"]
    mean = mu[:, None] + 2.5 * z if mu.ndim == 1 else mu.gather(1, z)
    known = mask & ~y.isnan()
    residuals = (y - mean)[known]
    assert abs(float(residuals.mean())) < 4 / np.sqrt(len(residuals))
    assert abs(float(residuals.std()) - 1) < 4 / np.sqrt(2 * len(residuals))
    assert bool((units.values[..., -1] == known).all())


def test_rows_of_a_transition_must_sum_to_one():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        P = np.array([[0.9, 0.3], [0.2, 0.8]])
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", mu[z], 1, observed=np.zeros(6))
    with pytest.raises(UnsupportedModelError, match=r"rows of the transition .* sum to 1"):
        pma.compile_simulator(model)


def test_a_state_that_is_never_visited():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1, 2], 1)
        P = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1.0]])
        first = pm.Categorical.dist([0.5, 0.5, 0])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", mu[z], 1, observed=np.zeros(6))
    config = pma.TrainingConfig(steps=1, tolerance=None)
    with pytest.warns(AccuracyWarning, match=r"\[2\] occur in none"):
        pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)


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


def test_the_stationary_distribution_as_the_first():
    """A first state that is drawn from a function of the transition."""
    y = simulate_chain(6, 0)[1]
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2)))
        first = pm.Categorical.dist(pt.stack([P[1, 0], P[0, 1]]) / (P[1, 0] + P[0, 1]))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", 2.5 * z, 1, observed=y)
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(4, 1).parameters
    found = simulator.density.log_marginal(parameters, {"y": y}).numpy()
    e = stats.norm(2.5 * np.arange(2), 1).pdf(y[:, None])
    for P, value in zip(parameters["P"].numpy(), found, strict=True):
        state = np.array([P[1, 0], P[0, 1]]) / (P[1, 0] + P[0, 1])
        assert np.allclose(state @ P, state)
        likelihood = 0.0
        for t in range(6):
            joint = (state if t == 0 else state @ P) * e[t]
            likelihood += np.log(joint.sum())
            state = joint / joint.sum()
        assert np.isclose(value, likelihood)
