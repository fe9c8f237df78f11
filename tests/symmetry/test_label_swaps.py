"""Exchanges of neighbouring components across the borders of an order."""

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.importance.bridge import Effort, bridge
from pymc_amortized.importance.walk import Walk
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, Labelling
from pymc_amortized.symmetry.component_parts import ComponentParts
from pymc_amortized.symmetry.exchangeable import Exchangeable
from pymc_amortized.symmetry.label_swaps import LabelSwaps

Y = np.linspace(-2, 2, 20)
OPTIONS = {"training": "none", "random_seed": 1, "progressbar": False, "cache": False}


def three_components():
    with pm.Model() as model:
        w = pm.Dirichlet("w", 2 * np.ones(3))
        mu = pm.Normal("mu", 0, 2, shape=(3, 2))
        sigma = pm.HalfNormal("sigma", 1, shape=3)
        z = pm.Categorical("z", w, shape=20)
        y = np.stack([Y, Y**2], axis=-1)
        pm.Normal("y", mu[z], sigma[z][:, None], observed=y)
    return model


def problem_of(model, **options):
    return pma.fit(model, **{**OPTIONS, **options}).inference.problem


@pytest.fixture(scope="module")
def prepared():
    problem = problem_of(three_components(), order_by="sigma")
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(200, 2, problem.space.size, generator=generator).double()
    return problem, LabelSwaps(problem.labelling, problem.space), scores


def propose(swaps, scores, seed=5):
    return swaps.propose(scores, torch.Generator().manual_seed(seed))


def test_an_exchange_is_its_own_inverse(prepared):
    _, swaps, scores = prepared
    assert swaps.is_possible
    there, ratio = propose(swaps, scores)
    back, ratio_back = propose(swaps, there)
    torch.testing.assert_close(back, scores, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ratio_back, -ratio, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(there, scores)


def test_all_but_the_values_in_order_are_exchanged(prepared):
    problem, swaps, scores = prepared
    before = problem.parameters(scores)[1]
    after = problem.parameters(propose(swaps, scores)[0])[1]
    torch.testing.assert_close(after["sigma"], before["sigma"])
    assert bool((after["sigma"].diff(dim=-1) > 0).all())
    moved = (after["w"] - before["w"]).abs() > 1e-9
    assert set(moved.sum(-1).unique().tolist()) == {2}  # two neighbours, and not the third
    assert bool(moved[..., 1].all())
    assert bool((moved == ((after["mu"] - before["mu"]).abs() > 1e-9).all(-1)).all())
    torch.testing.assert_close(after["w"].sort(-1).values, before["w"].sort(-1).values)


def test_ratios_are_those_of_volumes(prepared):
    """By the determinant of the whole map from scores to scores."""
    _, swaps, scores = prepared
    some = scores[:6, :1]
    _, ratio = propose(swaps, some)

    def proposed(flat):
        return propose(swaps, flat.unflatten(0, (6, 1)))[0].flatten(0, 1)

    step, size = 1e-6, some.shape[-1]
    columns = []
    for i in range(size):
        by = torch.zeros(size).double()
        by[i] = step
        flat = some.flatten(0, 1)
        columns.append((proposed(flat + by) - proposed(flat - by)) / (2 * step))
    log_volume = torch.linalg.slogdet(torch.stack(columns, dim=-1))[1]
    torch.testing.assert_close(ratio[:, 0], log_volume, rtol=1e-5, atol=1e-5)


def test_nothing_to_exchange_without_an_order():
    with pm.Model() as model:
        w = pm.Beta("w", 1, 5)
        mu = pm.Normal("mu", [-1, 3], 1)
        pm.NormalMixture("y", w=pm.math.stack([w, 1 - w]), mu=mu, sigma=1, observed=Y)
    problem = problem_of(model)
    assert not LabelSwaps(problem.labelling, problem.space).is_possible


class _Sticks:
    """Three weights by breaking a stick, where the order of components matters to coordinates."""

    size = 2

    @staticmethod
    def constrain(vector):
        broken = torch.sigmoid(vector)
        rest = 1 - broken[:, :1]
        parts = [broken[:, :1], rest * broken[:, 1:], rest * (1 - broken[:, 1:])]
        return {"w": torch.cat(parts, dim=1)}

    @staticmethod
    def unconstrain(parameters):
        w = parameters["w"]
        return torch.stack([w[:, 0], w[:, 1] / (1 - w[:, 0])], dim=1).logit()


class _LogRatios:
    size = 2

    @staticmethod
    def constrain(vector):
        return {"w": torch.cat([vector, -vector.sum(1, keepdim=True)], dim=1).softmax(1)}

    @staticmethod
    def unconstrain(parameters):
        log_w = parameters["w"].log()
        return (log_w - log_w.mean(1, keepdim=True))[:, :2]


@pytest.mark.parametrize(("space", "possible"), [(_LogRatios, True), (_Sticks, False)])
def test_coordinates_that_exchanges_stretch(space, possible):
    exchangeable = Exchangeable(ComponentParts(axes=(("w", 0),)), 3, ((0, 1, 2),), ())
    order = CanonicalOrder(exchangeable, "w", (None,))
    labelling = Labelling((order,), space)
    assert LabelSwaps(labelling, space).is_possible == possible


def cut_through():
    """Two components that are told apart by mu, and ordered by sigma, which they nearly share."""
    rng = np.random.default_rng(4)
    y = np.concatenate([rng.normal(-3, 1, 30), rng.normal(3, 1, 60)])
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        sigma = pm.Gamma("sigma", 20, 20, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
    return model


@pytest.fixture(scope="module")
def cut():
    """The problem with an order that cuts, and the share of the piece where the left is first.

    That is P(sigma of the left < sigma of the right), known from an order that does not cut.
    """
    idata = pma.fit(cut_through(), **OPTIONS, order_by="mu").sample(random_seed=2)
    assert idata.posterior.attrs["checked"] == "accepted"
    sigma = np.asarray(idata.posterior["sigma"])
    return problem_of(cut_through(), order_by="sigma"), (sigma[..., 0] < sigma[..., 1]).mean()


def share_of_left_first(problem, points):
    mu = problem.parameters(points)[1]["mu"][:, 0]
    return float((mu[:, 0] < mu[:, 1]).double().mean())


def target_of(problem):
    frames = problem.read(None).frames
    return lambda x: problem.log_target(x, frames)


def test_particles_share_the_pieces_of_a_mode_that_an_order_cuts(cut):
    problem, expected = cut
    swaps = LabelSwaps(problem.labelling, problem.space)
    shares = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        effort, size = Effort(400, 20), problem.space.size
        options = {"swap": swaps.propose, "generator": generator}
        found = bridge(target_of(problem), 1, size, effort, **options)
        shares.append(share_of_left_first(problem, found.points))
    assert 0.1 < expected < 0.9
    assert abs(np.mean(shares) - expected) < 0.06  # four standard errors of 1,200 draws


@pytest.mark.parametrize("exchanging", [True, False])
def test_particles_of_one_piece_get_to_the_other(cut, exchanging):
    """With nothing but exchanges between steps along differences; and without them they do not."""
    problem, expected = cut
    swaps = LabelSwaps(problem.labelling, problem.space)
    generator = torch.Generator().manual_seed(1)
    begin = bridge(
        target_of(problem), 1, problem.space.size, Effort(600, 20), generator=generator
    ).points
    mu = problem.parameters(begin)[1]["mu"][:, 0]
    in_one = begin[mu[:, 0] < mu[:, 1]]
    walk = Walk(target_of(problem), None, in_one, generator, swaps.propose)
    power = torch.ones(1).double()
    for _ in range(60):
        if exchanging:
            walk._accept(power, *swaps.propose(walk.points, generator))
        walk._accept(power, walk.points + 0.1 * torch.randn_like(walk.points), 0.0)
    found = share_of_left_first(problem, walk.points)
    if exchanging:
        assert abs(found - expected) < 4 * np.sqrt(0.25 / len(in_one)) + 0.03
    else:
        assert found > 0.99
