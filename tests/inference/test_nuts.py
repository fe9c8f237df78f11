"""Chains of draws against posteriors that are known, by nutpie and by PyMC alone."""

import sys

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.importance.weights import effective_sample_size
from pymc_amortized.inference.correction.nuts import MarginalSampler, diagnose
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.inference.problem import Problem
from pymc_amortized.model.density.marginal import MarginalModel
from pymc_amortized.symmetry.canonical_order import possible_orders
from tests.trained import ORDERED, beta_bernoulli, data, normal_mean

Z = 3.5
"""Standard errors that a right program exceeds less than once in 2,000 times."""


def level_and_mixture(y, x):
    """A mixture, and a normal mean of its own data: two posteriors that are independent."""
    with pm.Model() as model:
        level = pm.Normal("level", 0, 2)
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", 0, 2, shape=2, transform=ORDERED)
        pm.Normal("x", level, 1, observed=x)
        pm.NormalMixture("y", w=pm.math.stack([w, 1 - w]), mu=mu, sigma=1, observed=y)
    return model


class Setup:
    """A model, its sampler, and how it lays out data."""

    def __init__(self, model, sizes=None):
        self.simulator = pma.compile_simulator(model, device="cpu")
        self.space = self.simulator.parameters
        self.layout = DataLayout(self.simulator.spec, self.simulator.covariates, sizes)
        problem = Problem.of_model(self.simulator, self.layout, self.space)
        self.sampler = MarginalSampler(problem)

    def frames(self, given=None):
        return read_dataset(self.layout, self.simulator.observed_data, given).frames

    def starts(self, chains):
        return self.space.unconstrain(self.simulator.sample(chains, 5).parameters)

    def sample(self, given=None, *, chains=4, draws=1000, tune=300, starts=None, scale=1.0, seed=1):
        size = self.space.size
        return self.sampler.sample(
            self.frames(given),
            self.starts(chains) if starts is None else starts,
            torch.full((size,), 0.1),
            scale * torch.eye(size) + 0.1 * scale * torch.ones(size, size).tril(),
            draws=draws,
            tune=tune,
            random_seed=seed,
        )

    def weighted(self, given=None, draws=300_000):
        """Return means and standard deviations by weighted draws of the prior, and their errors."""
        parameters = self.simulator.sample(draws, 1).parameters
        with_axis = {name: x.unsqueeze(1) for name, x in parameters.items()}
        exact = ExactModel(self.simulator.density, self.layout)
        log_weight = exact.log_marginal(with_axis, self.frames(given))
        weight, vector = log_weight.softmax(0), self.space.unconstrain(parameters)
        ess = float(effective_sample_size(log_weight - log_weight.logsumexp(0)))
        mean = (weight * vector).sum(0)
        squares = (vector - mean) ** 2
        variance = (weight * squares).sum(0)
        kurtosis = (weight * squares**2).sum(0) / variance**2
        sd = variance.sqrt()
        errors = (sd / ess**0.5, sd * ((kurtosis - 1) / ess).sqrt() / 2)
        assert ess > 1_000
        return tuple(x.numpy() for x in (mean, sd, *errors))


def agrees(vector, mean, sd, error_of_mean=0.0, error_of_sd=0.0):
    """Compare draws (chains, draws, D) with means and standard deviations of the posterior."""
    squares = (vector - vector.mean((0, 1))) ** 2
    found = squares.mean((0, 1)) ** 0.5
    own_of_mean = found / diagnose(vector)[1] ** 0.5
    own_of_sd = squares.std((0, 1)) / diagnose(squares)[1] ** 0.5 / (2 * found)
    off_mean = np.abs(vector.mean((0, 1)) - mean) / np.hypot(own_of_mean, error_of_mean)
    off_sd = np.abs(found - sd) / np.hypot(own_of_sd, error_of_sd)
    return bool((off_mean < Z).all() and (off_sd < Z).all())


def is_normal_posterior(chains, x):
    """Whether the first coordinate is the mean of x ~ N(mu, 1) under mu ~ N(0, 2)."""
    precision = len(x) + 1 / 4
    return agrees(chains.vector.numpy()[..., :1], x.sum() / precision, precision**-0.5)


Y, X = data(12), data(30) + 1


@pytest.fixture(scope="module")
def both():
    setup = Setup(level_and_mixture(Y, X), sizes={"y": (5, 100), "x": (5, 100)})
    return setup, setup.sample()


def test_conjugate_posterior(both):
    _, chains = both
    assert chains.sampler == "nutpie"
    assert chains.vector.shape == (4, 1000, 4)
    assert chains.vector.dtype == torch.float64
    assert chains.diverging.shape == (4, 1000)
    assert chains.diverging.double().mean() < 0.01
    assert chains.rhat < 1.02
    assert chains.ess > 400
    assert is_normal_posterior(chains, X)


def test_mixture(both):
    setup, chains = both
    mean, sd, *errors = setup.weighted()
    assert agrees(chains.vector.numpy(), mean, sd, *errors)
    assert not agrees(chains.vector.numpy(), mean, 0.85 * sd, *errors)


def test_other_data_sets_compile_nothing(both, monkeypatch):
    setup, first = both
    monkeypatch.setattr("pymc_amortized.inference.correction.nuts.nuts_sampler", None)
    other = {"y": 1.2 * Y[:10], "x": data(7, seed=2) - 1}
    chains = setup.sample(other)
    assert first.compile_seconds > 0
    assert chains.compile_seconds == 0.0
    assert is_normal_posterior(chains, other["x"])
    assert not is_normal_posterior(chains, X)
    mean, sd, *errors = setup.weighted(other)
    assert agrees(chains.vector.numpy(), mean, sd, *errors)


def test_a_preconditioner_changes_nothing(both):
    assert is_normal_posterior(both[0].sample(scale=0.1), X)


def test_seeds(both):
    setup, _ = both
    first, again = (setup.sample(draws=5, tune=10) for _ in range(2))
    assert torch.equal(first.vector, again.vector)
    assert not torch.equal(first.vector, setup.sample(draws=5, tune=10, seed=2).vector)
    assert setup.sample(chains=1, draws=5, tune=10).vector.shape == (1, 5, 4)


def test_chains_start_where_they_are_told_to(both, monkeypatch):
    def earliest(draws, stats, number):
        batch = draws[0].column("u").to_pylist()
        return np.array(batch[:number]), np.zeros(number, dtype=bool)

    monkeypatch.setattr("pymc_amortized.inference.correction.nuts_samplers._read_arrow", earliest)
    starts = both[0].starts(6)
    chains = both[0].sample(starts=starts, draws=4, tune=10)
    # The first step is untuned, and often rejected.
    stayed = torch.isclose(chains.vector[:, 0], starts, rtol=1e-6).all(1)
    assert stayed.sum() >= 2


def test_disagreement_of_chains_is_reported():
    """Of two chains that stay where they are; a single chain has nothing to compare with."""
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(2, 500, 1)) + np.array([0.0, 10.0])[:, None, None]
    rhat, ess = diagnose(apart)
    assert rhat > 1.5
    assert ess < 10
    assert np.isnan(diagnose(apart[:1])[0])
    assert diagnose(apart[:1])[1] > 200
    assert np.isnan(diagnose(apart[:, :3])).all()


def test_a_start_without_density_is_an_error(both):
    starts = torch.full((1, 4), torch.inf, dtype=torch.float64)
    with pytest.raises(pma.errors.UnsupportedModelError, match="where chains start"):
        both[0].sample(starts=starts, draws=5, tune=10)


@pytest.mark.parametrize(("name", "least"), [("draws", 1), ("tune", 10), ("seed", 0)])
def test_numbers_that_are_too_small_are_errors(both, name, least):
    with pytest.raises(pma.errors.InvalidArgumentError, match=f"at least {least}"):
        both[0].sample(**{name: least - 1})


def test_pymc_alone(monkeypatch):
    """Indicators that are known almost surely, so that the posterior is Beta."""
    monkeypatch.setitem(sys.modules, "nutpie", None)
    y = 20.0 * (data() > 0)
    setup = Setup(beta_bernoulli(y))
    chains = setup.sample(chains=2, draws=800)
    ones = (y > 0).sum()
    exact = np.random.default_rng(0).beta(2 + ones, 3 + len(y) - ones, size=200_000)
    logits = np.log(exact) - np.log1p(-exact)
    assert chains.sampler == "pymc"
    assert agrees(chains.vector.numpy(), logits.mean(), logits.std(), 1e-3, 1e-3)
    assert chains.rhat < 1.02
    again = setup.sample({"y": 20.0 * (data(seed=1) > 0)}, chains=1, draws=20)
    assert again.compile_seconds == 0.0
    assert np.isnan(again.rhat)
    starts = torch.tensor([[torch.inf]], dtype=torch.float64)
    with pytest.raises(pma.errors.UnsupportedModelError, match="where chains start"):
        setup.sample(starts=starts, draws=5, tune=10)


def test_what_nutpie_cannot_compile_is_left_to_pymc(monkeypatch):
    def refuse(model):
        raise NotImplementedError("numba")

    class Stand:
        pass

    monkeypatch.setattr("nutpie.compile_pymc_model", refuse)
    monkeypatch.setattr(
        "pymc_amortized.inference.correction.nuts_samplers._PymcSampler", lambda model: Stand
    )
    setup = Setup(normal_mean(data()))
    assert setup.sampler._compile(False)[1] is Stand


def test_a_tempered_density_is_seen(monkeypatch):
    """A planted fault: four fifths of the log density."""
    right = MarginalModel._log_density
    monkeypatch.setitem(sys.modules, "nutpie", None)
    monkeypatch.setattr(MarginalModel, "_log_density", lambda self, x: 0.8 * right(self, x))
    y = data() + 1
    assert not is_normal_posterior(Setup(normal_mean(y)).sample(chains=2), y)


def two_profiles(y):
    """Two classes with a probability for each of four items, exchangeable."""
    with pm.Model() as model:
        theta = pm.Beta("theta", 2, 2, shape=(2, 4))
        z = pm.Categorical("z", [0.5, 0.5], shape=len(y))
        pm.Bernoulli("y", theta[z], observed=y)
    return model


def test_an_order_is_no_wall():
    """Ordered by the item that does not tell classes apart, one mode is in two pieces.

    Each chain goes back and forth between them, as no path in that order does.
    """
    rng = np.random.default_rng(2)
    z = rng.random(150) < 0.5
    tell = [rng.random(150) < np.where(z, 0.95, 0.05) for _ in range(3)]
    every_other = np.where(z, np.cumsum(z), np.cumsum(~z)) % 2
    y = np.stack([every_other, *tell], axis=1)
    simulator = pma.compile_simulator(two_profiles(y.astype(int)), device="cpu")
    [found] = simulator.exchangeable
    draws = simulator.sample_parameters(64, 1)
    orders = possible_orders(found, simulator.parameters, draws)
    [by_first] = [order for order in orders if order.column == (None, 0)]
    ordered = simulator.in_order([by_first])
    assert ordered.as_written is simulator
    layout = DataLayout(ordered.spec, ordered.covariates)
    problem = Problem.of_model(ordered, layout, ordered.parameters)
    sampler = MarginalSampler(problem)
    starts = sampler.as_written(ordered.parameters.unconstrain(ordered.sample(4, 3).parameters))
    size = ordered.parameters.size
    mcmc = sampler.sample(
        read_dataset(layout, ordered.observed_data).frames,
        starts,
        starts.mean(0),
        torch.eye(size).double(),
        draws=1_000,
        tune=500,
        random_seed=1,
    )
    theta = ordered.parameters.constrain(mcmc.vector.flatten(0, 1))["theta"].unflatten(0, (4, -1))
    assert bool((theta[..., 0, 0] <= theta[..., 1, 0]).all())
    # Other items are answered by 95 and 5 in 100, of either class.
    first_is_high = (theta[..., 0, 1] > theta[..., 1, 1]).double().mean(1)
    assert bool(((first_is_high > 0.2) & (first_is_high < 0.8)).all())
    assert mcmc.rhat < 1.02
    spread = theta[..., 1:].sort(-2).values.mean((0, 1))
    expected = torch.tensor([[0.05], [0.95]]).double()
    # The sd of each is .03, and the prior pulls by (2 - 4 * .05) / (75 + 4).
    assert bool(((spread - expected).abs() < 0.12).all())
