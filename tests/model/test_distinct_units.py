"""Units that are equal are evaluated once, where that changes nothing."""

import dataclasses

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.model.density import distinct_units as module
from pymc_amortized.model.density.distinct_units import DistinctUnits, distinct_units

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")

NUM_UNITS = 60
COUNTS = np.random.default_rng(1).poisson(3, NUM_UNITS)
GROUPS = np.repeat([0.0, 1.0, 2.0], NUM_UNITS // 3)
NUM_DRAWS = 200


def counts():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        rate = pm.Gamma("rate", 2, 0.5, shape=2)
        pm.Mixture("y", w=w, comp_dists=pm.Poisson.dist(rate), observed=COUNTS)
    return model


def explicit():
    """Indicators that are written out, and two values for each of them."""
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        mu = pm.Normal("mu", [0, 3], 1)
        z = pm.Bernoulli("z", p, shape=NUM_UNITS)
        pm.Normal("y", mu[z][:, None], 1, observed=np.round(np.stack([COUNTS, GROUPS], -1)))
    return model


def with_covariate():
    with pm.Model() as model:
        group = pm.Data("group", GROUPS)
        slope = pm.Normal("slope", [0.5, 1.5], 0.5)
        w = pm.math.invlogit(slope[0] + group)
        rate = pt.exp(slope * group[:, None])
        components = pm.Poisson.dist(rate)
        pm.Mixture("y", w=pt.stack([w, 1 - w], axis=-1), comp_dists=components, observed=COUNTS)
    return model


def compared_with_each_other():
    """A covariate of which the model takes the mean over units."""
    with pm.Model() as model:
        group = pm.Data("group", GROUPS + (np.arange(NUM_UNITS) == 0))
        slope = pm.Normal("slope", [0.5, 1.5], 0.5)
        rate = pt.exp(slope * (group - group.mean())[:, None])
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=pm.Poisson.dist(rate), observed=COUNTS)
    return model


def numbers_of_its_own():
    with pm.Model() as model:
        slope = pm.Normal("slope", [0.5, 1.5], 0.5)
        rate = pt.exp(slope * np.linspace(0, 1, NUM_UNITS)[:, None])
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=pm.Poisson.dist(rate), observed=COUNTS)
    return model


def shape_checked():
    """A covariate whose number of units the graph insists on."""
    with pm.Model() as model:
        group = pm.Data("group", GROUPS)
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", pm.math.invlogit(slope * group))
        pm.Poisson("y", 1.0 + 2.0 * z, observed=COUNTS)
    return model


def with_missing():
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        z = pm.Bernoulli("z", p, shape=NUM_UNITS)
        observed = np.ma.masked_array(COUNTS.astype(float), np.arange(NUM_UNITS) == 7)
        pm.Normal("y", 3.0 * z, 1, observed=observed)
    return model


def prepare(model):
    """Return the density, draws (S, 1, ...) of its parameters, and its data set."""
    simulator = pma.compile_simulator(model)
    exact = ExactModel(simulator.density, DataLayout(simulator.spec, simulator.covariates))
    frames = read_dataset(exact.layout, simulator.observed_data).frames
    draws = simulator.sample(NUM_DRAWS, 3).parameters
    return exact, {name: x.unsqueeze(1) for name, x in draws.items()}, frames


def one_by_one(exact, parameters, frames):
    flat, data = exact._flat(parameters, frames)
    return exact.density.log_marginal(flat, data).unsqueeze(1)


@pytest.mark.parametrize("define", [counts, explicit, with_covariate])
def test_densities_are_those_of_all_units(define):
    exact, parameters, frames = prepare(define())
    found = exact.log_marginal(parameters, frames)
    units = exact._distinct[frames]
    assert units is not None
    assert len(units.counts) < 0.75 * NUM_UNITS
    assert torch.equal(units.counts, torch.bincount(units.places).double())
    assert units.counts.sum() == NUM_UNITS
    torch.testing.assert_close(found, one_by_one(exact, parameters, frames), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("define", [counts, with_covariate])
def test_gradients_are_those_of_all_units(define):
    exact, parameters, frames = prepare(define())
    _, found = exact.log_marginal_with_gradient(parameters, frames)
    assert exact._distinct[frames] is not None
    leaves = {name: x.clone().requires_grad_() for name, x in parameters.items()}
    one_by_one(exact, leaves, frames).sum().backward()
    for name, x in leaves.items():
        torch.testing.assert_close(found[name], x.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "define", [compared_with_each_other, numbers_of_its_own, shape_checked, with_missing]
)
def test_models_that_tell_equal_units_apart_are_evaluated_as_written(define):
    exact, parameters, frames = prepare(define())
    found = exact.log_marginal(parameters, frames)
    assert exact._distinct[frames] is None
    torch.testing.assert_close(found, one_by_one(exact, parameters, frames), rtol=0, atol=0)


def test_units_that_differ_are_not_counted():
    exact, parameters, frames = prepare(counts())
    flat, data = exact._flat(parameters, frames)
    different = {"y": np.arange(NUM_UNITS)}
    assert distinct_units(exact.density, flat, data) is not None
    assert distinct_units(exact.density, flat, different) is None


def test_units_that_stand_for_others_are_seen(monkeypatch):
    """The fault that the comparison is there for: other places, and so another density."""
    exact, parameters, frames = prepare(counts())
    flat, data = exact._flat(parameters, frames)
    right = DistinctUnits.of_data

    def shifted(data):
        units = right(data)
        return dataclasses.replace(units, places=units.places.roll(1))

    monkeypatch.setattr(module.DistinctUnits, "of_data", staticmethod(shifted))
    assert distinct_units(exact.density, flat, data) is None


def test_data_sets_in_one_call_have_units_of_their_own():
    exact, parameters, frames = prepare(counts())
    others = np.random.default_rng(5).poisson(2, (3, NUM_UNITS))
    y = torch.as_tensor(np.concatenate([COUNTS[None], others]))
    y = y.to(frames.observations["y"].dtype).unsqueeze(1)
    selected = tuple(x.expand(4, *x.shape[1:]) for x in frames.selected)
    together = dataclasses.replace(frames, observations={"y": y}, selected=selected)
    exact.memory = dataclasses.replace(exact.memory, cached=1_000)  # one data set fills a piece
    repeated = {name: x.expand(-1, 4, *x.shape[2:]) for name, x in parameters.items()}
    found = exact.log_marginal(repeated, together)
    assert [one in exact._distinct for one in together.one_by_one] == [True] * 4
    for b in range(4):
        alone = one_by_one(exact, parameters, together.select(slice(b, b + 1)))
        torch.testing.assert_close(found[:, b : b + 1], alone, rtol=1e-12, atol=1e-12)
