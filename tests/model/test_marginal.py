"""The density with indicators summed out, as a PyTensor graph, against the batched one in torch."""

import numpy as np
import pymc as pm
import pytensor
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode
from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.correction.framed import framed_data
from pymc_amortized.inference.correction.nuts import may_be_impossible
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.model.density.marginal import MarginalModel
from tests import cases
from tests.inference import test_exact

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning"),
]

NAMES = [
    "normal_mixture_ordered",
    "regressions_on_data",
    "multivariate_components",
    "poisson_mixture",
    "hurdle_gamma",
    "mixture_of_experts",
    "explicit_bernoulli_with_switch",
    "several_observed_variables",
    "groups_of_observations",
    "potential_as_ordering",
    "truncated_and_interval_priors",
    "masked_mixture",
    "masked_explicit",
]
MODELS = {case.name: case.model for case in cases.CASES}


def two_indicators():
    """Two independent indicators, a scalar, an index, and entries that belong to no unit."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        site = pm.Normal("site", 0, 1, shape=3)
        a = pm.Categorical("a", w, shape=5)
        b = pm.Bernoulli("b", 0.3, shape=4)
        index = pm.Data("index", np.array([0, 1, 2, 1, 0]))
        pm.Normal("y", mu[a] + site[index], 1, observed=cases.Y)
        pm.Normal("v", pm.math.switch(b, mu[0], mu[1]), 2, observed=cases.Y[:4])
        pm.Normal("total", mu.sum(), 1, observed=0.5)
    return model


def indicator_of_some():
    """Rows of groups, some of which belong to none: they have a mean of their own."""
    with pm.Model() as model:
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", [-1, 1], 2)
        z = pm.Bernoulli("z", w, shape=2)
        group = np.array([0, 0, 1, 1])
        means = pm.math.concatenate([mu[z][group], mu[:1]])
        pm.Normal("y", means, 1, observed=cases.Y)
    return model


MODELS |= {"two_indicators": two_indicators, "indicator_of_some": indicator_of_some}
NAMES += ["two_indicators", "indicator_of_some"]
NAMES += [case.name for case in cases.CASES if case.structure == "sequence"]


def prepare(simulator, framed):
    shapes = [spec.unconstrained_shape for spec in simulator.parameters.specs]
    guarded = may_be_impossible(simulator)
    model = MarginalModel(simulator.density, shapes, framed=framed, guarded=guarded)
    gradient = pytensor.grad(model.log_density, model.point)
    outputs = [model.log_density, gradient]
    return model, pytensor.function([model.point], outputs, mode=reference_mode())


def evaluate(model, function, layout, frames, vectors):
    model.set_data(model.arrays(framed_data(layout, frames), *whole(model.size)))
    values = [function(vector.numpy()) for vector in vectors]
    return np.array([v for v, _ in values]), np.array([g for _, g in values])


def whole(size):
    return np.zeros(size), np.eye(size)


def in_torch(simulator, layout, frames, vectors):
    space = simulator.parameters
    parameters = {n: x.unsqueeze(1) for n, x in space.constrain(vectors).items()}
    log_marginal = ExactModel(simulator.density, layout).log_marginal(parameters, frames)[:, 0]
    return (simulator.density.log_prior(space.split(vectors)) + log_marginal).numpy()


def draws_of(simulator, number=4):
    return simulator.parameters.unconstrain(simulator.sample(number, 1).parameters)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_batched_density(name):
    simulator = pma.compile_simulator(MODELS[name](), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates)
    frames = read_dataset(layout, simulator.observed_data).frames
    vectors = draws_of(simulator)
    model, function = prepare(simulator, framed=False)
    values, gradients = evaluate(model, function, layout, frames, vectors)
    assert np.allclose(values, in_torch(simulator, layout, frames, vectors), rtol=1e-8)
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("name", test_exact.CASES)
def test_data_sets_of_any_size(name):
    """One graph serves them all; a row more or less in use is seen."""
    build, base, others = test_exact.CASES[name]
    simulator = pma.compile_simulator(build(base, test_exact.X), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (1, 100)})
    vectors = draws_of(simulator)
    model, function = prepare(simulator, framed=True)
    for y in others:
        x = np.random.default_rng(1).normal(size=len(y))
        frames = test_exact.dataset_of(simulator, layout, y, x).frames
        values, gradients = evaluate(model, function, layout, frames, vectors)
        assert np.allclose(values, in_torch(simulator, layout, frames, vectors), rtol=1e-8)
        assert np.isfinite(gradients).all()
    frames.selected[0][0, 0, 0] ^= True
    changed, _ = evaluate(model, function, layout, frames, vectors)
    assert not np.allclose(values, changed, rtol=1e-6)


def test_gradient_and_preconditioner():
    simulator = pma.compile_simulator(two_indicators(), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates)
    frames = read_dataset(layout, simulator.observed_data).frames
    model, function = prepare(simulator, framed=False)
    vector = draws_of(simulator, 1)
    _, gradients = evaluate(model, function, layout, frames, vector)
    steps = 1e-5 * torch.eye(model.size, dtype=torch.float64)
    upper = in_torch(simulator, layout, frames, vector + steps)
    lower = in_torch(simulator, layout, frames, vector - steps)
    assert np.allclose(gradients[0], (upper - lower) / 2e-5, rtol=1e-5, atol=1e-6)

    rng = np.random.default_rng(0)
    location = rng.normal(size=model.size)
    scale_tril = np.tril(rng.normal(size=(model.size, model.size)))
    u = rng.normal(size=model.size)
    model.set_data(model.arrays(framed_data(layout, frames), location, scale_tril))
    there = model.model.compile_logp(mode=reference_mode())({"u": u})
    assert np.isclose(there, function(location + scale_tril @ u)[0], rtol=1e-10)


def test_impossible_parameters_have_no_density():
    simulator = pma.compile_simulator(MODELS["potential_as_ordering"](), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates)
    frames = read_dataset(layout, simulator.observed_data).frames
    model, function = prepare(simulator, framed=False)
    vectors = draws_of(simulator)
    forbidden, nowhere = vectors.clone(), torch.full_like(vectors, torch.nan)
    mu = [i for i, name in enumerate(simulator.parameters.coordinate_names) if "mu" in name]
    forbidden[:, mu] = forbidden[:, mu[::-1]]
    for point in (forbidden, nowhere):
        values, _ = evaluate(model, function, layout, frames, point)
        assert np.isneginf(values).all()


def test_only_zeros_are_guarded():
    def guarded(name):
        return may_be_impossible(pma.compile_simulator(MODELS[name](), device="cpu"))

    assert guarded("hurdle_gamma")
    assert not guarded("normal_mixture_ordered")
