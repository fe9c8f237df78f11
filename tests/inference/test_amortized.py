"""A trained network and its model: draws, and their densities."""

import math

import numpy as np
import torch

from pymc_amortized.inference.assembly import inference_from_tensors


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
    points = inference.proposals.draw(context, 40, generator)
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
