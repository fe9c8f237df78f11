"""Whether two sets of weighted draws say the same."""

import math

import pytest
import torch

from pymc_amortized.importance.agreement import Estimate, agree, largest_gap, stay
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.weights import weigh

NUM_DRAWS = 4_000


def log_normal(x, location, scale):
    z = (x - location) / scale
    return -(z.square() + math.log(2 * math.pi * scale**2)).sum(-1) / 2


def target(x, share=0.1):
    """Two modes, 8 apart."""
    parts = [log_normal(x, 4.0, 0.5) + math.log(share), log_normal(x, -4.0, 0.5)]
    parts[1] = parts[1] + math.log(1 - share)
    return torch.stack(parts).logsumexp(0)


def estimate(seed, *, of_second=0.3, share=0.1, num_datasets=1):
    """Draws of a proposal that has so much mass at the second mode."""
    generator = torch.Generator().manual_seed(seed)
    shape = (NUM_DRAWS, num_datasets, 2)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    second = torch.rand(shape[:2], generator=generator) < of_second
    x = torch.where(second.unsqueeze(-1), 4.0, -4.0) + 0.7 * noise
    log_q = log_normal(x, -4.0, 0.7) + math.log(1 - of_second)
    if of_second:
        log_q = torch.logaddexp(log_q, log_normal(x, 4.0, 0.7) + math.log(of_second))
    log_weights = target(x, share) - log_q
    return Estimate(x, weigh(log_weights), *log_mean_weight(log_weights))


@pytest.mark.parametrize("of_second", [0.05, 0.3, 0.7])
def test_estimates_of_the_same_agree_whatever_their_proposals(of_second):
    one = estimate(1, num_datasets=50)
    other = estimate(2, of_second=of_second, num_datasets=50)
    assert bool(agree(one, other, torch.Generator().manual_seed(0)).all())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_mode_that_one_has_missed_is_seen(share):
    """Though the weights of either are as good as they can be."""
    one = estimate(1, of_second=0.0, share=share, num_datasets=20)
    other = estimate(2, share=share, num_datasets=20)
    assert bool((one.weights.pareto_k < 0.5).all())
    assert not bool(agree(one, other, torch.Generator().manual_seed(0)).any())
    gap = largest_gap(one, other, torch.Generator().manual_seed(0))
    # A mode may be several regions.
    assert bool(((gap > share / 4) & (gap <= share + 0.01)).all())


def test_integrals_are_compared_as_well():
    """Both in the same mode: masses are equal, and one integral is that of both modes."""
    one, other = estimate(1, of_second=0.0), estimate(2, of_second=0.0)
    whole = Estimate(other.points, other.weights, other.log_evidence + 0.2, other.error)
    assert bool(agree(one, other))
    assert not bool(agree(one, whole))
    unknown = Estimate(other.points, other.weights, other.log_evidence + math.nan, other.error)
    assert not bool(agree(one, unknown))


def test_equal_integrals_do_not_hide_masses_that_differ():
    one, other = estimate(1, share=0.1), estimate(2, share=0.2)
    assert abs(float(one.log_evidence - other.log_evidence)) < 0.05
    assert not bool(agree(one, other))


@pytest.mark.parametrize(("drift", "share"), [(0.0, 0.995), (0.5, 0.0)])
def test_draws_that_are_moved_stay_or_drift(drift, share):
    """For at least so many of 1,000 data sets; half a standard deviation is a drift for none."""
    noise = torch.randn(2, 500, 1_000, 2, generator=torch.Generator().manual_seed(1))
    before = noise[0]
    after = 0.6 * before + 0.8 * noise[1]
    after[..., 1] += drift
    stays = float(stay(before, after).double().mean())
    assert stays >= share if share else stays == 0
