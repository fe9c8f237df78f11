"""Adaptive importance sampling against targets whose moments, modes and integrals are known."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.adaptive import Rounds, _Search, adapt
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.moves import rejuvenate
from pymc_amortized.importance.pool import Pool, Proposal
from pymc_amortized.importance.weights import (
    effective_sample_size,
    mixture_log_weights,
    resample,
    tempered,
    weigh,
)
from tests.importance.targets import SIZE, generator, imaged, normal_log_prob

RULE = AcceptanceRule()


def two_modes(points, index=None):
    """Modes at -2 and 2 in each coordinate, 0.3 wide, of weights 0.25 and 0.75; integral 5."""
    terms = [
        normal_log_prob(points, -2.0, 0.3) + math.log(0.25),
        normal_log_prob(points, 2.0, 0.3) + math.log(0.75),
    ]
    return torch.stack(terms).logsumexp(0) + math.log(5)


def wide(points, index=None):
    return normal_log_prob(points, 0.0, 1.5)


def pool_of(target, proposal, num_draws, num_datasets, seed=0, scale=1.5):
    points = scale * torch.randn(
        num_draws, num_datasets, SIZE, generator=generator(seed), dtype=torch.float64
    )
    return Pool(points, *imaged(target)(points), (proposal(points),), (num_draws,))


def normal_proposal(num_datasets, scale=1.5, seed=9):
    source = generator(seed)

    def sample(number, index):
        shape = (number, len(index), SIZE)
        return scale * torch.randn(shape, generator=source, dtype=torch.float64)

    return known(sample, lambda points, index: normal_log_prob(points, 0.0, scale))


def known(sample, log_prob):
    """A proposal whose density is known, whoever has drawn."""

    def draw(number, index):
        points = sample(number, index)
        return points, log_prob(points, index)

    return Proposal(draw, log_prob)


def finish(pool, target, proposal, wanted=3_000):
    rounds, source = Rounds(2_000), generator(5)
    return list(adapt(pool, imaged(target), proposal, RULE, wanted, rounds, generator=source))


def test_two_modes_with_their_weights():
    """By construction: weights 0.25 and 0.75, integral 5, in every one of 20 data sets."""
    pool = pool_of(two_modes, wide, 4_000, 20)
    assert float(weigh(pool.log_weights).ess.median()) < 100
    shares, integrals, seen = [], [], []
    for index, found, weights in finish(pool, two_modes, normal_proposal(20)):
        assert bool(RULE.relies_on(weights).all())
        upper = (found.points.sum(-1) > 0).double()
        assert torch.equal(found.images, 2 * found.points)
        shares += (weights.log_weights.exp() * upper).sum(0).tolist()
        integrals += log_mean_weight(found.log_weights)[0].tolist()
        seen += index.tolist()
    assert sorted(seen) == list(range(20))
    assert np.abs(np.array(shares) - 0.75).max() < 0.05
    assert np.abs(np.array(integrals) - math.log(5)).max() < 0.1


def ring(points, index=None):
    """A thin ring of radius 3 in the first two coordinates, standard normal in the others."""
    radius = points[..., :2].norm(dim=-1)
    on_ring = stats.norm(3, 0.03)
    density = normal_log_prob(radius.unsqueeze(-1), on_ring.mean(), on_ring.std()) - radius.log()
    return density - math.log(2 * math.pi) + normal_log_prob(points[..., 2:], 0.0, 1.0)


def test_a_target_that_no_mixture_fits_well_is_given_more_draws():
    """Five components cover a thin ring badly; integral 1, all around the ring alike."""
    pool = pool_of(ring, wide, 4_000, 3)
    most_in_one_cycle = 5 * 4_000
    for _, found, weights in finish(pool, ring, normal_proposal(3)):
        assert sum(found.counts) > most_in_one_cycle
        assert bool((RULE.relies_on(weights) & (weights.ess >= 3_000)).all())
        integral, error = log_mean_weight(found.log_weights)
        assert bool((integral.abs() < 4.5 * error).all())
        upper = (found.points[..., 0] > 0).double()
        share = (weights.log_weights.exp() * upper).sum(0)
        assert bool(((share - 0.5).abs() < 4.5 * 0.5 / weights.ess.sqrt()).all())


def test_forgetting_a_proposal_is_seen():
    """A planted fault: draws weighed against the last mixture alone give a wrong integral."""
    pool = pool_of(two_modes, wide, 4_000, 20)
    for _, found, _ in finish(pool, two_modes, normal_proposal(20)):
        right, error = log_mean_weight(found.log_weights)
        assert bool(((right - math.log(5)).abs() < 5 * error).all())
        wrong, _ = log_mean_weight(found.log_target - found.log_proposals[0])
        assert float((wrong - math.log(5)).abs().min()) > 0.1


def regression_targets(num_datasets, size=8):
    """Correlated normals in 8 dimensions, 0.02 to 0.5 wide, whose integrals are 1."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(num_datasets, size, size)) * rng.uniform(0.02, 0.3, (1, 1, size))
    factors += 0.05 * np.eye(size)
    location = torch.as_tensor(rng.normal(0, 0.7, (num_datasets, size)))
    covariance = torch.as_tensor(factors @ factors.swapaxes(-1, -2))
    normal = torch.distributions.MultivariateNormal(location, covariance)

    def target(points, index):
        z = points - normal.mean[index]
        lower = normal.scale_tril[index]
        z = torch.linalg.solve_triangular(lower, z.permute(1, 2, 0), upper=False)
        log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -z.square().sum(1).T / 2 - log_det - size / 2 * math.log(2 * math.pi)

    return target


def test_the_integral_in_eight_dimensions_is_not_biased():
    """Forty data sets: errors are as large as they are said to be, and zero on average."""
    target, source = regression_targets(40), generator(2)

    def sample(number, index):
        return torch.randn(number, len(index), 8, generator=source, dtype=torch.float64)

    network = known(sample, lambda points, index: normal_log_prob(points, 0.0, 1.0))
    everything = torch.arange(40)
    points = sample(4_000, everything)
    log_q = network.log_prob(points, everything)
    pool = Pool(points, *imaged(target)(points, everything), (log_q,), (4_000,))
    z = []
    for _, found, weights in finish(pool, target, network):
        log_integral, error = log_mean_weight(found.log_weights)
        assert bool(RULE.relies_on(weights).all())
        z += (log_integral / error).tolist()
    assert len(z) == 40
    # Forty independent errors of unit size: their mean has a standard deviation of 0.16.
    assert abs(np.mean(z)) < 0.8
    assert 0.5 < np.std(z) < 1.7
    # A planted fault: the draws that mixtures were fitted to, weighed against all proposals.
    search, mixtures = _Search(imaged(target), network, 3_000, 400, Rounds(2_000), generator(5)), []
    for _ in range(4):
        weights = weigh(pool.log_weights)
        pool, mixtures = search._fit(everything, pool, weights, mixtures)
    log_integral, error = log_mean_weight(pool.log_weights)
    assert float((log_integral / error).mean()) < -1.5


def good_network(num_datasets, size=8):
    """Draws 1.1 times as wide as normal targets of integral 1, worth most of their number."""
    source = generator(2)

    def target(points, index=None):
        return normal_log_prob(points, 0.0, 1.0)

    def sample(number, index):
        shape = (number, len(index), size)
        return 1.1 * torch.randn(shape, generator=source, dtype=torch.float64)

    network = known(sample, lambda points, index: normal_log_prob(points, 0.0, 1.1))
    everything = torch.arange(num_datasets)
    points = sample(4_000, everything)
    log_q = network.log_prob(points, everything)
    return target, network, Pool(points, *imaged(target)(points), (log_q,), (4_000,))


def test_good_draws_need_no_rounds():
    """One mixture, and a quarter of the draws from the network; errors are as large as said."""
    target, network, pool = good_network(60)
    assert float(weigh(pool.log_weights).ess.min()) > 2_000
    z, wrong, first, seen = [], [], [], []
    for index, found, weights in finish(pool, target, network):
        assert found.counts == (1_250, 3_750)
        assert bool((RULE.relies_on(weights) & (weights.ess >= 3_000)).all())
        assert torch.equal(found.images, 2 * found.points)
        log_integral, error = log_mean_weight(found.log_weights)
        z += (log_integral / error).tolist()
        forgotten, error = log_mean_weight(found.log_target - found.log_proposals[1])
        wrong += (forgotten / error).tolist()
        first += (weights.log_weights.exp() * found.points[..., 0]).sum(0).tolist()
        seen += index.tolist()
    assert sorted(seen) == list(range(60))
    # Sixty independent errors of unit size: their mean has a standard deviation of 0.13.
    assert abs(np.mean(z)) < 0.45
    assert 0.6 < np.std(z) < 1.5
    assert np.abs(first).max() < 4.5 / math.sqrt(3_000)
    # A planted fault: the share of the network is forgotten.
    assert abs(np.mean(wrong)) > 2


def skewed(points, index=None):
    """Logs of Gamma variables, which a Student distribution proposes with uneven weights."""
    return (points - points.exp()).sum(-1)


@pytest.mark.parametrize(("num_picked", "repeated"), [(1, True), (4_000, False)])
def test_draws_that_are_picked_differ(num_picked, repeated):
    """Draws of uneven weights go on, although they are worth enough."""
    pool, network = pool_of(skewed, wide, 4_000, 3), normal_proposal(3)
    rounds = Rounds(2_000, 1, 1, num_picked)
    found = adapt(pool, imaged(skewed), network, RULE, 2_000, rounds, generator=generator(5))
    for _, more, weights in found:
        picked = resample(weights.log_weights, 4_000, generator(6))
        shares = [len(column.unique()) / 4_000 for column in picked.T]
        assert (min(shares) < 0.95) == repeated, (more.counts, shares)


def test_some_data_sets_need_rounds_and_others_do_not():
    """The target of every other data set is far away from the network."""
    location = torch.tensor([0.0, 6.0]).double().repeat(5)

    def target(points, index):
        return normal_log_prob(points, location[index, None], 1.0)

    network = normal_proposal(10, scale=1.2)
    everything = torch.arange(10)
    points, log_q = network.sample(4_000, everything)
    pool = Pool(points, *imaged(target)(points, everything), (log_q,), (4_000,))
    seen = {}
    for index, found, weights in finish(pool, target, network):
        assert bool((RULE.relies_on(weights) & (weights.ess >= 3_000)).all())
        mean = (weights.log_weights.exp().unsqueeze(-1) * found.points).sum(0)
        assert float((mean - location[index, None]).abs().max()) < 4.5 / math.sqrt(3_000)
        seen |= {int(i): found.counts for i in index}
    assert sorted(seen) == list(range(10))
    assert all((seen[i][0] == 1_250) == (i % 2 == 0) for i in range(10))


def test_a_network_that_misses_by_far():
    """The target is 30 times narrower than the proposal, and off in every coordinate."""

    def target(points, index=None):
        return normal_log_prob(points, 1.5, 0.05)

    pool = pool_of(target, wide, 4_000, 4)
    assert float(weigh(pool.log_weights).ess.max()) < 20
    for _, found, weights in finish(pool, target, normal_proposal(4)):
        mean = (weights.log_weights.exp().unsqueeze(-1) * found.points).sum(0)
        assert bool(RULE.relies_on(weights).all())
        assert float((mean - 1.5).abs().max()) < 5 * 0.05 / math.sqrt(1_000)


def test_data_sets_do_not_touch_each_other():
    """Each of several data sets is answered as it is alone, but for the random numbers."""

    def target(points, index):
        return normal_log_prob(points, torch.tensor([0.0, 3.0, -3.0])[index, None], 0.2)

    points = 2 * torch.randn(4_000, 3, SIZE, generator=generator(), dtype=torch.float64)

    everything = torch.arange(3)
    network = normal_proposal(3, scale=2.0)
    log_q = network.log_prob(points, everything)
    pool = Pool(points, *imaged(target)(points, everything), (log_q,), (4_000,))
    for index, found, weights in finish(pool, target, network):
        mean = (weights.log_weights.exp().unsqueeze(-1) * found.points).sum(0).mean(-1)
        assert torch.allclose(mean, torch.tensor([0.0, 3.0, -3.0]).double()[index], atol=0.03)


def test_mixture_weights_by_the_book():
    log_q = torch.randn(2, 6, generator=generator(), dtype=torch.float64)
    log_p = torch.randn(6, generator=generator(1), dtype=torch.float64)
    found = mixture_log_weights(log_p, log_q, [2, 4])
    assert torch.allclose(found.exp(), log_p.exp() / (log_q[0].exp() / 3 + log_q[1].exp() * 2 / 3))


@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_tempered_weights(spread):
    log_weights = (spread * torch.randn(1_000, 5, generator=generator())).double().log_softmax(0)
    found = tempered(log_weights, 100.0)
    ess, before = effective_sample_size(found), effective_sample_size(log_weights)
    assert torch.allclose(found.logsumexp(0), torch.zeros(5).double(), atol=1e-9)
    assert torch.allclose(ess, before.clamp(min=100.0), rtol=0.02)


def test_resampling_in_columns():
    log_weights = torch.randn(50, 3, generator=generator()).double().log_softmax(0)
    index = resample(log_weights, 1_000, generator(1))
    assert index.shape == (1_000, 3)
    for b in range(3):
        counts = torch.bincount(index[:, b], minlength=50)
        assert bool(((counts - 1_000 * log_weights[:, b].exp()).abs() < 1 + 1e-9).all())


def test_moves_leave_the_target_as_it_is():
    """Draws of the target are draws of the target after 20 moves; 4,000 in 5 coordinates."""
    points = torch.randn(4_000, 1, SIZE, generator=generator(3), dtype=torch.float64) * 0.7 + 1

    def target(points):
        return normal_log_prob(points, 1.0, 0.7)

    moved, log_target = rejuvenate(points, target(points), target, 20, generator(4))
    assert float((moved != points).any(-1).double().mean()) > 0.95
    assert torch.allclose(log_target, target(moved))
    for d in range(SIZE):
        assert stats.kstest(moved[:, 0, d], stats.norm(1, 0.7).cdf).pvalue > 0.0002


def test_a_wrong_move_is_seen():
    """A planted fault: a density that is 0.8 times as wide."""
    points = torch.randn(4_000, 1, SIZE, generator=generator(3), dtype=torch.float64)

    def narrow(points):
        return normal_log_prob(points, 0.0, 0.8)

    moved, _ = rejuvenate(points, narrow(points), narrow, 20, generator(4))
    assert min(stats.kstest(moved[:, 0, d], stats.norm().cdf).pvalue for d in range(SIZE)) < 1e-6


def test_moves_part_duplicates():
    few = torch.randn(200, 2, SIZE, generator=generator(), dtype=torch.float64)
    points = few.repeat(10, 1, 1)

    def target(points):
        return normal_log_prob(points, 0.0, 1.0)

    moved, _ = rejuvenate(points, target(points), target, 16, generator(1))
    for b in range(2):
        assert moved[:, b, 0].unique().numel() > 1_950


def test_weights_that_hardly_differ_are_reliable():
    """Flat weights with a few bumps have a large Pareto k, and all the same nothing in the tail."""
    log_weights = 1e-3 * torch.randn(4_000, 1, generator=generator(), dtype=torch.float64)
    log_weights[:5] += torch.tensor([0.2, 0.4, 0.8, 1.6, 2.0])[:, None]
    weights = weigh(log_weights)
    assert float(weights.pareto_k) > 0.8
    assert bool(RULE.relies_on(weights))
    # A planted fault: a heavy tail that holds something.
    exponential = -torch.rand(4_000, 1, generator=generator(1), dtype=torch.float64).log()
    assert not bool(RULE.relies_on(weigh(1.2 * exponential)))
