"""The density of data sets of other sizes, against the same model built with them."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.memory import MemoryBudget

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")

X = np.linspace(-1, 1, 20)


def normal_mixture(y, x=None):
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        mu = pm.Normal("mu", 0, 3, shape=3)
        sigma = pm.HalfNormal("sigma", 1, shape=3)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
    return model


def replicated(y, x=None):
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        z = pm.Categorical("z", w, shape=len(y))
        pm.Normal("y", mu[z][:, None], 1, observed=y)
    return model


def regressions(y, x):
    with pm.Model() as model:
        x = pm.Data("x", x)
        w = pm.Beta("w", 2, 2)
        slope = pm.Normal("slope", 0, 1, shape=2)
        gate = pm.math.invlogit(4 * w * x)
        weights = pm.math.stack([gate, 1 - gate], axis=-1)
        pm.NormalMixture("y", w=weights, mu=slope * x[:, None], sigma=0.5, observed=y)
    return model


def two_tables(y, x=None):
    """A mixture and, of another length, measurements without an indicator."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=y)
        pm.Normal("reference", mu[0], 1, observed=np.arange(4.0))
    return model


def masked(y, x=None):
    return normal_mixture(y)


def masked_replicates(y, x=None):
    return replicated(y)


def gap(values, *where):
    mask = np.zeros(values.shape, dtype=bool)
    for place in where:
        mask[place] = True
    return np.ma.masked_array(values, mask)


RNG = np.random.default_rng(0)
CASES = {
    "normal_mixture": (
        normal_mixture,
        RNG.normal(size=20),
        [RNG.normal(size=n) for n in (7, 20, 53)],
    ),
    "replicated": (
        replicated,
        RNG.normal(size=(20, 3)),
        [RNG.normal(size=(n, 3)) for n in (7, 53)],
    ),
    "regressions": (regressions, RNG.normal(size=20), [RNG.normal(size=n) for n in (7, 20, 53)]),
    "two_tables": (two_tables, RNG.normal(size=20), [RNG.normal(size=n) for n in (7, 53)]),
    "masked": (
        masked,
        gap(RNG.normal(size=20), 3, 8, 9),
        [gap(RNG.normal(size=20), 0, 1, 2, 5), gap(RNG.normal(size=41), 40)],
    ),
    "masked_replicates": (
        masked_replicates,
        gap(RNG.normal(size=(20, 3)), (3, 2), (5, 1), (5, 2), (6, slice(None))),
        [
            gap(RNG.normal(size=(9, 3)), (0, 2), (1, 2), (2, slice(1, 3)), (7, slice(None))),
            RNG.normal(size=(31, 3)),
        ],
    ),
}


@pytest.fixture(params=CASES)
def prepared(request):
    build, base, others = CASES[request.param]
    simulator = pma.compile_simulator(build(base, X), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (1, 100)})
    return build, simulator, layout, others


def dataset_of(simulator, layout, y, x):
    data = {"y": y}
    if "reference" in simulator.observed_data:
        data["reference"] = simulator.observed_data["reference"]
    if layout.covariates:
        data["x"] = x
    return read_dataset(layout, simulator.observed_data, data)


def test_other_sizes(prepared):
    build, simulator, layout, others = prepared
    exact = ExactModel(simulator.density, layout)
    parameters = simulator.sample(6, 1).parameters
    with_axis = {name: value.unsqueeze(1) for name, value in parameters.items()}
    for y in others:
        x = np.random.default_rng(1).normal(size=len(y))
        dataset = dataset_of(simulator, layout, y, x)
        rebuilt = pma.compile_simulator(build(y, x), device="cpu")
        expected = rebuilt.density.log_marginal(parameters, rebuilt.observed_data)
        found = exact.log_marginal(with_axis, dataset.frames)[:, 0]
        assert torch.allclose(found, expected, rtol=1e-10)

        name = rebuilt.spec.indicators[0].name
        table = exact.log_units(name, with_axis, dataset.frames)[:, 0].flatten(1, 2)
        ordered = [parameters[p.name] for p in rebuilt.spec.parameters]
        prior = rebuilt.density.indicator_distribution(name).log_probs(ordered)
        joint = prior + rebuilt.density.log_likelihood(parameters, rebuilt.observed_data, name)
        assert torch.allclose(table[:, dataset.positions[0]], joint, rtol=1e-10, atol=1e-10)


def test_a_misplaced_row_is_seen(prepared):
    """A planted fault: one row of the data in the place of another's covariates, or left out."""
    _, simulator, layout, others = prepared
    exact = ExactModel(simulator.density, layout)
    parameters = {n: v.unsqueeze(1) for n, v in simulator.sample(6, 1).parameters.items()}
    y = others[-1]
    dataset = dataset_of(simulator, layout, y, np.random.default_rng(1).normal(size=len(y)))
    before = exact.log_marginal(parameters, dataset.frames)
    dataset.frames.selected[0][0, 0, int(dataset.positions[0][0] % 20)] ^= True
    assert not torch.allclose(before, exact.log_marginal(parameters, dataset.frames), rtol=1e-6)


def test_batches_of_data_sets_are_as_one_by_one():
    build, base, _ = CASES["normal_mixture"]
    simulator = pma.compile_simulator(build(base), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates)
    exact = ExactModel(simulator.density, layout)
    simulation = simulator.sample(3, 2)
    frames = Frames(
        {"y": simulation.observations["y"].unsqueeze(1)},
        {},
        (torch.ones(3, 1, 20, dtype=torch.bool),),
    )
    draws = {n: v.unflatten(0, (5, 3)) for n, v in simulator.sample(15, 3).parameters.items()}
    together = exact.log_marginal(draws, frames)
    assert together.shape == (5, 3)
    for b in range(3):
        one = {name: value[:, b : b + 1] for name, value in draws.items()}
        alone = exact.log_marginal(one, frames.select(slice(b, b + 1)))
        assert torch.allclose(alone[:, 0], together[:, b], rtol=1e-12)


def test_pieces_change_nothing():
    build, base, others = CASES["normal_mixture"]
    simulator = pma.compile_simulator(build(base), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (1, 100)})
    exact = ExactModel(simulator.density, layout)
    parameters = {n: v.unsqueeze(1) for n, v in simulator.sample(30, 1).parameters.items()}
    frames = read_dataset(layout, simulator.observed_data, {"y": others[-1]}).frames
    whole = exact.log_marginal(parameters, frames)
    exact = ExactModel(simulator.density, layout, MemoryBudget(cached=3 * 20 * 3 * 2))
    assert len(list(exact.pieces(parameters, frames))) > 3
    assert torch.allclose(exact.log_marginal(parameters, frames), whole, rtol=1e-12)


def test_by_unit_adds_up_to_the_whole(prepared):
    _, simulator, layout, others = prepared
    exact = ExactModel(simulator.density, layout)
    parameters = {n: v.unsqueeze(1) for n, v in simulator.sample(6, 1).parameters.items()}
    y = others[0]
    dataset = dataset_of(simulator, layout, y, np.random.default_rng(1).normal(size=len(y)))
    total = 0.0
    for table in layout.tables:
        for _, values in exact.by_unit(parameters, dataset.frames, table):
            total = total + values[:, 0].flatten(1).sum(1)
    expected = exact.log_marginal(parameters, dataset.frames)[:, 0]
    assert torch.allclose(total, expected, rtol=1e-10)


def test_values_without_a_unit_count_in_resized_layouts():
    """Replicates of explicit units, and one value of no unit, beside a table that is resized."""

    def model(y):
        with pm.Model() as model:
            mu = pm.Normal("mu", [-2, 2], 1)
            z = pm.Bernoulli("z", 0.4, shape=2)
            pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1, observed=y)
            means = pt.concatenate([mu[z][[0, 0, 1]], mu[:1]])
            pm.Normal("g", means, 1, observed=[1.0, 2.0, -1.0, 0.5])
        return model

    y = np.arange(6.0) - 2
    simulator = pma.compile_simulator(model(np.zeros(6)))
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (6, 6)})
    data = {"y": y, "g": np.array([1.0, 2.0, -1.0, 0.5])}
    dataset = read_dataset(layout, simulator.observed_data, data)
    mu = torch.tensor([[[-1.5, 2.5]]], dtype=torch.float64)
    found = ExactModel(simulator.density, layout).log_marginal({"mu": mu}, dataset.frames)
    expected = pma.compile_simulator(model(y)).density.log_marginal({"mu": mu[0]}, data)
    assert torch.allclose(found[0], expected)
