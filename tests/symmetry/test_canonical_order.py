"""Models whose components are exchangeable: trained and answered in one labelling."""

import json
import math

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.symmetry.order_choice import choose_orders
from pymc_amortized.training.record import TrainingRecord
from tests.symmetry.mixtures import build
from tests.symmetry.symmetric_models import SYMMETRIC, flat, simulators_of
from tests.two_sample import LEVEL, smallest_p_value


def by_hand(draws, blocks, by, together):
    """Permute draws (S, K) of several parameters together, sorted within blocks."""
    draws = {name: x.numpy() for name, x in draws.items()}
    order = np.tile(np.arange(draws[by].shape[1]), (len(draws[by]), 1))
    for block in blocks:
        order[:, block] = np.array(block)[draws[by][:, block].argsort(axis=1)]
    for name in together:
        x = draws[name]
        if x.ndim == 3:  # a transition matrix, whose columns are permuted first
            x = np.take_along_axis(x, order[:, None], 2)
            draws[name] = np.take_along_axis(x, order[..., None], 1)
        else:
            draws[name] = np.take_along_axis(x, order, 1)
    return draws


@pytest.mark.parametrize("name", SYMMETRIC)
def test_prior_in_order_is_the_prior_permuted(name):
    simulator, ordered, by = simulators_of(name)
    [found] = simulator.exchangeable
    draws = ordered.sample(20_000, 1).parameters
    values = draws[by].numpy()
    for block in found.blocks:
        assert (np.diff(values[:, list(block)]) > 0).all()
    expected = by_hand(simulator.sample(20_000, 2).parameters, found.blocks, by, found.names)
    p_value, where = smallest_p_value({n: x.numpy() for n, x in draws.items()}, expected)
    assert p_value > LEVEL, where
    log_mass, error = ordered.log_prior_mass()
    count = sum(math.lgamma(len(block) + 1) for block in found.blocks)
    assert (log_mass, error) == (pytest.approx(-count), 0.0)


def test_sorting_one_parameter_alone_is_found_out():
    simulator, ordered, by = simulators_of("coupled")
    draws = ordered.sample(20_000, 1).parameters
    wrong = by_hand(simulator.sample(20_000, 2).parameters, [(0, 1, 2)], by, ["mu"])
    assert smallest_p_value({n: x.numpy() for n, x in draws.items()}, wrong)[0] < LEVEL


@pytest.mark.parametrize("name", SYMMETRIC)
def test_density_in_order_is_that_of_the_model(name):
    simulator, ordered, _ = simulators_of(name)
    draws = simulator.sample(50, 3).parameters
    arranged = ordered.labelling.arrange(draws)
    log_joints = []
    for one, parameters in ((simulator, draws), (ordered, arranged)):
        vector = one.parameters.unconstrain(parameters)
        back = one.parameters.constrain(vector)
        for key, value in parameters.items():
            torch.testing.assert_close(back[key], value, rtol=1e-9, atol=1e-9)
        log_prior = one.density.log_prior(one.parameters.split(vector))
        log_joints.append(log_prior + one.density.log_marginal(parameters, one.observed_data))
    log_jacobian = ordered.labelling.log_jacobian(arranged)
    torch.testing.assert_close(log_joints[1] - log_jacobian, log_joints[0])


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")
def test_models_without_a_density_are_answered_in_order():
    model = build(density=False, kind="explicit", num_components=2)
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    canonical, symmetric = (
        posterior.sample(draws=100, random_seed=1, labels=labels)
        for labels in ("canonical", "symmetric")
    )
    mu = flat(symmetric, "mu")
    assert (np.diff(flat(canonical, "mu"), axis=1) > 0).all()
    np.testing.assert_allclose(np.sort(mu, axis=1), flat(canonical, "mu"))
    swapped = (mu[:, 0] > mu[:, 1])[:, None]
    z = flat(symmetric, "z")
    np.testing.assert_array_equal(np.where(swapped, 1 - z, z), flat(canonical, "z"))


def test_an_order_is_kept_in_a_file():
    [order] = choose_orders(simulators_of("mixture")[0])
    assert CanonicalOrder.from_record(json.loads(json.dumps(order.as_record()))) == order


def test_records_of_networks_without_an_order_are_read(trained):
    """Of those that were trained before there were any."""
    record = json.loads(json.dumps(trained("unordered")[1].record.as_record()))
    assert [str(order) for order in TrainingRecord.from_record(record).orders] == ["mu"]
    del record["orders"]
    assert TrainingRecord.from_record(record).orders == ()


def test_networks_in_different_orders_are_different(trained):
    model, posterior = trained("unordered")
    config = pma.TrainingConfig(steps=20, tolerance=None)
    options = {"training": config, "random_seed": 3, "progressbar": False}
    other = pma.fit(model, order_by="sigma", **options)
    assert other.record.fingerprint != posterior.record.fingerprint
    idata = other.sample(draws=500, random_seed=1)
    assert (np.diff(flat(idata, "sigma"), axis=1) > 0).all()
    assert idata["posterior"].attrs["labels_ordered_by"] == "sigma"
