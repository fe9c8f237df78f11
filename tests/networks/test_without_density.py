"""A network without a density: trained, drawn from, and corrected by mixtures fitted to draws."""

import math

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.inference.proposals import _FittedSpace
from tests.inference.test_ladder import RUNGS, flat, sample
from tests.networks.energy import EnergyGenerator

X = np.linspace(-0.5, 1.5, 12)
DESIGN = np.stack([np.ones_like(X), X], axis=1)
DATA = DESIGN @ [0.5, -1.0] + np.random.default_rng(4).normal(size=len(X))


def line(y):
    """Conjugate: b ~ N(0, 2), y ~ N(b_0 + b_1 x, 1)."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=2)
        pm.Normal("y", b[0] + b[1] * X, 1, observed=y)
    return model


def exact(y):
    covariance = np.linalg.inv(DESIGN.T @ DESIGN + np.eye(2) / 4)
    return stats.multivariate_normal(covariance @ DESIGN.T @ y, covariance)


def log_evidence(y):
    covariance = np.eye(len(y)) + 4 * DESIGN @ DESIGN.T
    return stats.multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)


def p_value(idata, y=DATA):
    """Of whitened draws, against standard normal ones: means, squares and products.

    Draws are taken to be worth what the answer says. Five p-values, times five.
    """
    attrs, target = idata.posterior.attrs, exact(y)
    draws = flat(idata, "b")
    of_rung = attrs["ess_bulk"] if attrs["rung"] == "mcmc" else attrs["importance_ess"]
    worth = min(of_rung, len(draws))
    z = (draws - target.mean) @ np.linalg.inv(np.linalg.cholesky(target.cov)).T
    found = [
        *(z.mean(0) * math.sqrt(worth)),
        *((z**2 - 1).mean(0) * math.sqrt(worth / 2)),
        z.prod(1).mean() * math.sqrt(worth),
    ]
    return 5 * 2 * stats.norm.sf(np.abs(found).max())


@pytest.fixture(scope="module")
def posterior():
    config = pma.TrainingConfig(steps=60, tolerance=None)
    networks = pma.Networks(posterior=EnergyGenerator)
    return pma.fit(
        line(np.zeros_like(X)),
        networks=networks,
        training=config,
        random_seed=1,
        progressbar=False,
    )


def test_training(posterior):
    losses = [entry["posterior"] for entry in posterior.history]
    assert losses[-1] < losses[0] - 0.1
    assert 0 <= posterior.record.accepted_share <= 1


@pytest.mark.parametrize("rung", RUNGS)
def test_corrected_answers_are_right(posterior, rung):
    idata = sample(posterior, {"y": DATA}, correction=rung)
    assert idata.posterior.attrs["rung"] == rung
    assert idata.posterior.attrs["checked"] == "accepted"
    assert p_value(idata) > 1e-3
    if rung != "mcmc":
        error = idata.posterior.attrs["log_evidence_error"]
        assert abs(idata.posterior.attrs["log_evidence"] - log_evidence(DATA)) < 4.5 * error


def test_by_default_it_is_corrected(posterior):
    idata = sample(posterior, {"y": DATA})
    assert idata.posterior.attrs["checked"] == "accepted"
    assert p_value(idata) > 1e-3


def test_the_test_sees_proposals_of_another_density(posterior, monkeypatch):
    """A planted fault: proposals are weighed by a density that is tilted."""
    right = _FittedSpace.log_prob
    monkeypatch.setattr(
        _FittedSpace, "log_prob", lambda space, points, c: right(space, points, c) + points.sum(-1)
    )
    assert p_value(sample(posterior, {"y": DATA}, correction="importance")) < 1e-6


def test_draws_as_they_are(posterior):
    """They have no density, and nothing else is put in its place."""
    idata = sample(posterior, {"y": DATA}, correction="none")
    assert idata.posterior.attrs["rung"] == "network"
    assert np.isnan(idata.sample_stats["log_q"]).all()
    assert np.isnan(idata.sample_stats["log_weight"]).all()
    assert np.isfinite(idata.sample_stats["lp"]).all()
    inference = posterior.inference
    context = inference.context(inference.read({"y": DATA}).smooth)
    draws, _ = inference.draw_scores(context, 4_000, torch.Generator().manual_seed(0))
    expected = inference.problem.parameters(draws)[1]["b"][:, 0].numpy()
    for i in range(2):
        assert stats.ks_2samp(flat(idata, "b")[:, i], expected[:, i]).pvalue > 1e-4
    assert p_value_of_network(expected) < 1e-3


def p_value_of_network(draws):
    """Of draws of a network that was trained shortly: the test sees that they are not corrected."""
    z = (draws - exact(DATA).mean) @ np.linalg.inv(np.linalg.cholesky(exact(DATA).cov)).T
    return 2 * min(stats.kstest(column, "norm").pvalue for column in z.T)


def test_corrected_draws_have_no_density_of_the_network_either(posterior):
    for rung in RUNGS:
        idata = sample(posterior, {"y": DATA}, correction=rung)
        assert np.isnan(idata.sample_stats["log_q"]).all()
        assert np.isfinite(idata.sample_stats["lp"]).all()


def test_its_density_is_refused(posterior):
    with pytest.raises(DensityUnavailableError, match="EnergyGenerator has none"):
        posterior.log_prob({"b": np.zeros((3, 2))}, {"y": DATA})


def test_proposals_depend_on_the_data_set_alone(posterior):
    """Not on when they are asked for, nor on what else is in the batch."""
    space = posterior.inference.proposals
    context = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    size = posterior.inference.estimator.posterior.layers[0].in_features - 2 - 4
    context = torch.nn.functional.pad(context, (0, size - 3))
    points, own = space.draw(context, 50, torch.Generator().manual_seed(1))
    assert points.shape == (50, 4, 2)
    assert points.dtype == torch.float64
    log_q = space.log_prob(points, context)
    few = torch.tensor([3, 1])
    assert torch.equal(space.log_prob(points, context), log_q)
    assert torch.equal(own, log_q)
    assert torch.allclose(space.log_prob(points[:, few], context[few]), log_q[:, few], atol=1e-9)


def test_many_data_sets_and_a_file(posterior, tmp_path):
    ys = [{"y": DATA}, {"y": -DATA}]
    many = posterior.sample_many(ys, random_seed=1, progressbar=False)
    assert (np.asarray(many.posterior["b"]).shape[-2:]) == (2, 2)
    posterior.save(tmp_path / "network")
    networks = pma.Networks(posterior=EnergyGenerator)
    again = pma.load(tmp_path / "network", line(DATA), networks=networks)
    first, second = (
        flat(sample(p, {"y": DATA}, correction="none"), "b") for p in (posterior, again)
    )
    assert np.array_equal(first, second)


def test_what_is_checked_over_the_prior(posterior):
    report = posterior.check(num_datasets=20, draws=60, random_seed=1)
    assert math.isnan(report.negative_log_posterior[0])
    assert "nan" not in repr(report).lower()
