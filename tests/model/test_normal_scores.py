"""The map under which prior draws are standard normal."""

import torch

from scipy import stats

from pymc_amortized.model.normal_scores import fit_normal_scores


def test_prior_draws_become_standard_normal(simulators):
    _, simulator = simulators("gaussian_hidden_markov_model")
    draws = simulator.sample(10_000, random_seed=1).parameters
    space = simulator.parameters.with_normal_scores(draws)
    fresh = space.unconstrain(simulator.sample(4_000, random_seed=2).parameters)
    scores, log_det = space.standardize(fresh)
    for column in range(space.size):
        # The map itself is estimated from draws, hence the level.
        assert stats.kstest(scores[:, column].numpy(), "norm").pvalue > 1e-4
    back, inverse_log_det = space.unstandardize(scores)
    torch.testing.assert_close(back, fresh, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-10, atol=1e-10)
    assert simulator.parameters.normal_scores is None


def test_log_determinant_is_the_derivative():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(5_000, 3, generator=generator, dtype=torch.float64)
    draws = torch.stack([draws[:, 0].exp(), 100 * draws[:, 1], draws[:, 2] ** 3], dim=1)
    scores = fit_normal_scores(draws)
    x = (3 * draws[:300]).requires_grad_()
    z, log_det = scores.forward(x)
    [slope] = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(slope.log().sum(-1), log_det, rtol=1e-9, atol=1e-9)
    assert bool((slope > 0).all())
    wide = torch.linspace(-1e4, 1e4, 2001, dtype=torch.float64)[:, None].expand(-1, 3)
    mapped, _ = scores.forward(wide)
    assert bool((mapped[1:] > mapped[:-1]).all())
    back, _ = scores.inverse(mapped)
    torch.testing.assert_close(back, wide.contiguous(), rtol=1e-8, atol=1e-6)


def test_ties_do_not_break_the_map():
    draws = torch.cat([torch.zeros(500, 1), torch.ones(500, 1)]).double()
    scores = fit_normal_scores(draws)
    z, log_det = scores.forward(draws)
    assert bool(torch.isfinite(z).all())
    assert bool(torch.isfinite(log_det).all())
    torch.testing.assert_close(scores.inverse(z)[0], draws, rtol=1e-8, atol=1e-8)
