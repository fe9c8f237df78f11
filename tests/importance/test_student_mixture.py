"""Mixtures of Student t distributions: density, draws, and the fit."""

import numpy as np
import torch

from scipy import stats

from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.student_mixture import (
    StudentMixture,
    fit_student_mixture,
    stable_cholesky,
)
from tests.importance.targets import SIZE, generator, normal_log_prob


def test_density_of_the_mixture():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2, 3, 4, 4))
    scale_tril = np.linalg.cholesky(factors @ factors.swapaxes(-1, -2) + np.eye(4))
    weights = rng.dirichlet(np.ones(3), size=2)
    location = rng.normal(size=(2, 3, 4))
    mixture = StudentMixture(*(torch.as_tensor(x) for x in (np.log(weights), location, scale_tril)))
    points = rng.normal(size=(7, 2, 4))
    found = mixture.log_prob(torch.as_tensor(points)).numpy()
    for b in range(2):
        expected = sum(
            weights[b, k]
            * stats.multivariate_t(location[b, k], scale_tril[b, k] @ scale_tril[b, k].T, 8).pdf(
                points[:, b]
            )
            for k in range(3)
        )
        assert np.allclose(found[:, b], np.log(expected))


def test_draws_of_the_mixture_have_its_density():
    """Importance weights of its own draws against a wide normal integrate to one."""
    mixture = StudentMixture(
        torch.tensor([[0.3, 0.7]], dtype=torch.float64).log(),
        torch.tensor([[[0.0, 0.0], [3.0, 3.0]]], dtype=torch.float64),
        torch.tensor([[[1.0, 0.0], [0.5, 1.0]], [[0.5, 0.0], [0.0, 2.0]]]).double()[None],
    )
    draws = mixture.sample(20_000, generator(1))
    log_mean, error = log_mean_weight(normal_log_prob(draws, 2.0, 1.5) - mixture.log_prob(draws))
    assert abs(float(log_mean)) < 4 * float(error)
    assert float(error) < 0.02
    share = float((draws.sum(-1) > 3).double().mean())
    assert 0.5 < share < 0.9


def test_a_fitted_mixture_finds_modes_and_weights():
    x = torch.randn(4_000, 3, SIZE, generator=generator(), dtype=torch.float64) * 0.3
    x[:1_000] -= 2
    x[1_000:] += 2
    mixture = fit_student_mixture(x, torch.zeros(4_000, 3), 2, generator=generator(2))
    order = mixture.location[..., 0].argsort(1)
    weights = mixture.log_weights.exp().gather(1, order)
    # 1,000 points are picked: the standard error of a weight is 0.014.
    assert torch.allclose(weights[:, 0], torch.tensor(0.25).double(), atol=0.06)
    assert torch.allclose(mixture.location.abs(), torch.tensor(2.0).double(), atol=0.15)
    # Eight degrees of freedom fitted to normal draws: a little wider than these, as it should be.
    # A scale of 0.32 fitted to 250 points has a standard error of 0.015.
    scale = covariance_scale(mixture)
    assert bool(((scale > 0.28) & (scale < 0.6)).all())


def covariance_scale(mixture):
    """Standard deviation of each coordinate under each component, (B, K, D)."""
    matrix = mixture.scale_tril @ mixture.scale_tril.mT
    return (matrix.diagonal(dim1=-2, dim2=-1) * 8 / 6).sqrt()


def test_points_that_coincide_are_fitted():
    """Particles of a bridge can end at one place, in some coordinates or in all."""
    points = torch.zeros(500, 2, 6, dtype=torch.float64)
    points[:, 0, :2] = torch.randn(500, 2, generator=generator(), dtype=torch.float64)
    points[:, 0, 5] = 1e9 * points[:, 0, 0]
    mixture = fit_student_mixture(points, torch.zeros(500, 2), generator=generator())
    assert bool(torch.isfinite(mixture.scale_tril).all())
    assert bool((mixture.scale_tril.diagonal(dim1=-2, dim2=-1) > 0).all())
    assert bool(torch.isfinite(mixture.sample(10, generator())).all())


def test_factors_of_covariances_are_exact_where_they_can_be():
    lower = torch.randn(3, 4, 4, generator=generator(), dtype=torch.float64).tril()
    lower.diagonal(dim1=-2, dim2=-1).abs_()
    covariance = lower @ lower.mT
    covariance[1] = torch.ones(4, 4)  # singular
    found = stable_cholesky(covariance)
    torch.testing.assert_close(found[::2], torch.linalg.cholesky(covariance[::2]), rtol=0, atol=0)
    torch.testing.assert_close(found[1] @ found[1].mT, covariance[1], atol=1e-5, rtol=0)


def test_carrying_points_over_leaves_the_target_as_it_is():
    """Two normal modes of different shapes in fifteen dimensions: masses stay, and most cross."""
    size, shares = 15, torch.tensor([0.2, 0.8]).double()
    centres = torch.zeros(2, size).double()
    centres[1] = 5.0
    scales = torch.tensor([0.5, 1.5]).double()

    def log_target(points):
        z = (points.unsqueeze(-2) - centres) / scales[:, None]
        log_density = -z.square().sum(-1) / 2 - size * scales.log()
        return (log_density + shares.log()).logsumexp(-1)

    def first_mode(points):
        return (points[:, 0] - centres[0]).norm(dim=-1) < (points[:, 0] - centres[1]).norm(dim=-1)

    number = 4_000
    chosen = (torch.rand(number, generator=generator(1)) > 0.2).long()
    noise = torch.randn(number, size, generator=generator(2), dtype=torch.float64)
    points = (centres[chosen] + scales[chosen, None] * noise).unsqueeze(1)
    mixture = StudentMixture(
        torch.full((1, 2), 0.5).double().log(),
        centres.unsqueeze(0) + 0.05,
        torch.diag_embed(scales[:, None].expand(2, size).clone()).unsqueeze(0),
    )
    before = first_mode(points)
    for seed in range(6):
        proposed, log_ratio = mixture.carry_over(points, generator(10 + seed))
        gain = log_target(proposed) - log_target(points) + log_ratio
        accepted = torch.rand(gain.shape, generator=generator(20 + seed)).log() < gain
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
    after = first_mode(points)
    # 4.5 standard errors; the mode shares and the spread of each are those of the target.
    assert abs(float(after.double().mean()) - 0.2) < 4.5 * (0.16 / number) ** 0.5
    assert float((before != after).double().mean()) > 0.2
    assert abs(float(points[after, 0].std()) / 0.5 - 1) < 0.05
    # A planted fault: without what the shapes are worth, nearly all end in the narrow mode.
    for seed in range(6):
        proposed, _ = mixture.carry_over(points, generator(30 + seed))
        gain = log_target(proposed) - log_target(points)
        accepted = torch.rand(gain.shape, generator=generator(40 + seed)).log() < gain
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
    assert float(first_mode(points).double().mean()) > 0.8
