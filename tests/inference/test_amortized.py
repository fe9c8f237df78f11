"""A trained network and its model: draws, and their densities."""

import math

import numpy as np
import pymc as pm
import torch

from torch import nn

import pymc_amortized as pma

from pymc_amortized.inference.assembly import inference_from_tensors
from pymc_amortized.posterior import AmortizedPosterior
from tests.trained import data, mixture


def context_of(inference):
    dataset = inference.read(None)
    return inference.context(dataset.smooth), dataset


def test_draws_have_the_density_that_is_said(trained):
    _, posterior = trained("mixture")
    inference = posterior.inference
    context, _ = context_of(inference)
    scores, log_q = inference.draw_scores(context, 50, torch.Generator().manual_seed(0))
    assert scores.shape == (50, 1, inference.problem.space.size)
    # Networks calculate in single precision.
    again = inference.log_network(scores, context)
    torch.testing.assert_close(again, log_q, rtol=1e-3, atol=1e-3)


def test_the_target_is_the_same_in_the_space_of_proposals(trained):
    """Up to the Jacobian, by which the weights of draws do not change."""
    _, posterior = trained("mixture")
    inference = posterior.inference
    context, dataset = context_of(inference)
    generator = torch.Generator().manual_seed(1)
    points, _ = inference.proposals.draw(context, 40, generator)
    scores, log_det = inference.proposals.to_scores(points, context)
    expected = inference.problem.log_target(scores, dataset.frames) + log_det
    found = inference.log_target_of(points, context, dataset.frames)
    torch.testing.assert_close(found, expected)


def test_all_numbers_put_the_same_network_together_again(trained):
    _, posterior = trained("mixture")
    inference = posterior.inference
    again = inference_from_tensors(
        inference.problem.simulator, inference.tensors(), posterior.record.sizes, None
    )
    context, _ = context_of(inference)
    ours, _ = context_of(again)
    assert torch.equal(ours, context)
    one, two = (
        x.draw_scores(context, 5, torch.Generator().manual_seed(2)) for x in (inference, again)
    )
    assert torch.equal(one[0], two[0])
    numbers = again.tensors()
    assert all(torch.equal(x, numbers[name]) for name, x in inference.tensors().items())


def test_parameters_outside_of_their_support_have_no_density(trained):
    _, posterior = trained("normal_mean")
    inference = posterior.inference
    values = {"mu": np.array([0.5, np.nan])}
    found = inference.log_posterior(values, inference.read(None), any_labels=False)
    assert math.isfinite(float(found[0]))
    assert float(found[1]) == -math.inf


def test_simulations_are_typical_of_themselves(trained):
    """The share of simulations nearer to the mean is uniform over simulations."""
    _, posterior = trained("mixture")
    inference = posterior.inference
    _, frames, _ = inference.problem.source.draw_frames(200, 99)
    quantile = inference.simulation_quantile(inference.summarize(frames)[1])
    assert 0.35 < float(quantile.mean()) < 0.65
    assert float((quantile > 0.99).double().mean()) < 0.06


class TwoSided(pma.AbstractPosteriorNetwork):
    """A normal distribution and its mirror image; or the former alone, as if it were all."""

    is_blind = False

    def __init__(self, num_parameters, context_size):
        super().__init__()
        self.location = nn.Sequential(nn.Linear(context_size, 32), nn.SiLU(), nn.Linear(32, 2))

    def one_side(self, context):
        location, log_scale = self.location(context).unbind(-1)
        return torch.distributions.Normal(location, (log_scale - 2).exp())

    def log_prob(self, scores, context):
        x, one = scores[..., 0], self.one_side(context)
        if self.is_blind:
            return one.log_prob(x)
        return torch.logaddexp(one.log_prob(x), one.log_prob(-x)) - math.log(2)

    def sample(self, context, num_draws, generator=None):
        one = self.one_side(context)
        z, u = (
            f((num_draws, len(context)), generator=generator) for f in (torch.randn, torch.rand)
        )
        x = one.loc + one.scale * z
        return (x if self.is_blind else torch.where(u < 0.5, x, -x)).unsqueeze(-1)


def test_a_mode_that_a_network_misses_is_seen_in_simulations(monkeypatch):
    """The sign of a parameter is not known: weights of one of the two modes look as good."""
    with pm.Model() as model:
        shift = pm.Normal("shift", 0, 1)
        pm.Normal("y", abs(shift), 0.2, observed=np.full(4, 0.8))
    posterior = pma.fit(
        model,
        networks=pma.Networks(posterior=TwoSided),
        training=pma.TrainingConfig(steps=600, tolerance=None),
        random_seed=1,
        progressbar=False,
        cache=False,
    )
    inference = posterior.inference
    ys = posterior.inference.problem.simulator.sample(20, 3).observations["y"].numpy()
    for is_blind, word in ((False, "simulations"), (True, "nothing")):
        monkeypatch.setattr(TwoSided, "is_blind", is_blind)
        looked = inference.with_coverage(inference.problem.source, 256, 1_000, 5)
        coverage = looked.coverage
        assert coverage.num_accepted > 128
        assert coverage.is_shown is not is_blind
        share = coverage.num_missed / coverage.num_accepted
        assert (0.4 < share < 0.6) if is_blind else share < 0.01
        answers = AmortizedPosterior(looked, posterior.record).sample_many(
            {"y": ys}, progressbar=False, random_seed=1
        )["answers"]
        first = answers["rung"].values == "importance"
        first &= answers["simulation_quantile"].values <= 0.99
        assert first.sum() > 5
        assert set(answers["confirmed_by"].values[first]) == {word}


def test_what_is_covered_is_kept_with_the_numbers(trained):
    _, posterior = trained("normal_mean")
    looked = posterior.inference.with_coverage(posterior.inference.problem.source, 160, 500, 5)
    assert looked.coverage.num_accepted > 120
    assert looked.coverage.is_shown
    simulator, sizes = looked.problem.simulator, posterior.record.sizes
    again = inference_from_tensors(simulator, looked.tensors(), sizes, None)
    assert again.coverage == looked.coverage
    older = {n: x for n, x in looked.tensors().items() if not n.startswith("coverage")}
    assert inference_from_tensors(simulator, older, sizes, None).coverage is None


def test_training_ends_with_a_look_at_what_is_covered(trained):
    """For networks whose weights are mostly accepted; others have nothing to show."""
    _, good = trained("normal_mean")
    assert good.record.accepted_share >= 0.6
    assert good.inference.coverage.num_accepted > 0
    once = pma.TrainingConfig(steps=1, tolerance=None, num_validation=32)
    options = {"random_seed": 1, "progressbar": False, "cache": False}
    blank = pma.fit(mixture(data()), training=once, **options)
    assert blank.record.accepted_share < 0.6
    assert blank.inference.coverage is None
