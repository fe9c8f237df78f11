"""How far data lie from simulated ones."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.data.frames import stack_frames
from pymc_amortized.errors import (
    AtypicalDataWarning,
)
from pymc_amortized.inference.typicality import Coverage, fit_summary_reference
from tests.answered import flat
from tests.inference.answered import exact_mean
from tests.trained import NUM_UNITS


def test_data_far_from_the_prior_are_named_and_right(poor, trained):
    """Six prior standard deviations away."""
    _, good = trained("normal_mean")
    y = np.random.default_rng(0).normal(12, 1, NUM_UNITS)
    for posterior in (good, poor):
        with pytest.warns(AtypicalDataWarning, match="farther .* checked against the exact"):
            idata = posterior.sample({"y": y}, random_seed=1)
        assert idata.posterior.attrs["simulation_quantile"] > 0.99
        assert idata.posterior.attrs["checked"] == "accepted"
        exact, draws = exact_mean(y), flat(idata, "mu")
        assert abs(draws.mean() - exact.mean()) < 4.5 * exact.std() / math.sqrt(400)


def test_typical_data_are_not_named(trained):
    """Of 300 simulated data sets about one in a hundred is called atypical."""
    _, posterior = trained("mixture")
    inference = posterior.inference
    y = inference.problem.simulator.sample(300, 5).observations["y"].numpy()
    frames = stack_frames([inference.read({"y": one}).smooth for one in y])
    quantiles = inference.simulation_quantile(inference.summarize(frames)[1])
    assert (quantiles > 0.99).sum() <= 11  # binomial(300, 0.01): once in 10,000
    assert stats.kstest(quantiles.numpy(), "uniform").pvalue > 0.0002


def test_directions_without_variation_count_for_nothing():
    summaries = torch.randn(2_000, 3, generator=torch.Generator().manual_seed(0))
    constant = torch.cat([summaries, torch.ones(2_000, 1)], dim=1)
    reference = fit_summary_reference(constant)
    assert torch.isfinite(reference.whitening).all()
    assert float(reference.quantile(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))) < 0.05


@pytest.mark.parametrize(
    ("num_accepted", "num_missed", "is_shown"),
    [(100, 1, True), (100, 2, False), (99, 0, False), (256, 2, True), (256, 3, False)],
)
def test_coverage_needs_many_data_sets_and_few_that_are_missed(num_accepted, num_missed, is_shown):
    assert Coverage(num_accepted, num_missed).is_shown is is_shown


def test_what_is_missed_is_counted_among_what_is_accepted():
    log_ratio = torch.tensor([0.0, 4.0, 5.0, 900.0, torch.nan, torch.inf, -3.0])
    accepted = torch.tensor([True, True, True, False, True, True, True])
    assert Coverage.of_ratios(log_ratio, accepted) == Coverage(6, 3)
