"""The whole life of every posterior network, from one list."""

import functools
import math

import numpy as np
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import DensityUnavailableError, UnsupportedModelError
from pymc_amortized.networks.contracts import AbstractPosteriorNetwork
from tests.networks.energy import EnergyGenerator
from tests.trained import data, normal_mean

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
NETWORKS = {
    "SplineFlow": functools.partial(pma.SplineFlow, num_layers=1, width=32),
    "MixtureDensity": functools.partial(pma.MixtureDensity, num_components=3, width=32),
    "one normal": functools.partial(pma.MixtureDensity, num_components=1, width=32),
    "ConditionalPriorVAE": functools.partial(pma.ConditionalPriorVAE, width=32),
    "several latents": functools.partial(pma.ConditionalPriorVAE, num_samples=4, width=32),
    # The more its latent numbers tell of the data, the wider it draws, as published.
    "UninformativePriorVAE": functools.partial(pma.UninformativePriorVAE, width=32, data_scale=3.0),
    "double": EnergyGenerator,
}
EXACT = ["SplineFlow", "MixtureDensity", "one normal"]
NORMAL = [name for name in NETWORKS if name != "double"]
# theta ~ N(0, I) and y = theta + noise, so that theta given y is normal, with known moments.
NOISE = torch.tensor([[0.5, 0.3], [0.3, 0.4]])
GAIN = torch.linalg.inv(torch.eye(2) + NOISE)
COVARIANCE = torch.eye(2) - GAIN


def build(name, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name](2, 2)


def toy(num_datasets, generator):
    theta = torch.randn(num_datasets, 2, generator=generator)
    noise = torch.randn(num_datasets, 2, generator=generator)
    return theta, theta + noise @ torch.linalg.cholesky(NOISE).T


@pytest.fixture(scope="module")
def learned():
    """Each network after 1,200 steps on the toy problem, with its losses."""
    found = {}

    def get(name):
        if name not in found:
            network, generator = build(name), torch.Generator().manual_seed(1)
            optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
            losses = []
            for _ in range(1_200):
                loss = network.loss(*toy(256, generator), generator).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            found[name] = network.eval(), losses
        return found[name]

    return get


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_falls(learned, name):
    _, losses = learned(name)
    assert np.mean(losses[-100:]) < np.mean(losses[:20]) - 0.2


@pytest.mark.parametrize("name", EXACT)
def test_the_loss_comes_down_to_the_entropy(learned, name):
    """No network can be below the entropy of the posterior; a good one is near it."""
    _, losses = learned(name)
    entropy = 0.5 * float(torch.logdet(2 * math.pi * math.e * COVARIANCE))
    # 100 batches of 256: the standard error of their mean is below 0.01 nats.
    assert -0.03 < np.mean(losses[-100:]) - entropy < 0.06


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_follow_the_posterior(learned, name):
    network, _ = learned(name)
    context = torch.tensor([[0.5, -0.4], [-1.0, 0.8]])
    with torch.no_grad():
        draws = network.sample(context, 4_000, torch.Generator().manual_seed(2))
    assert draws.shape == (4_000, 2, 2)
    assert draws.dtype == context.dtype
    mean = context @ GAIN
    assert torch.allclose(draws.mean(0), mean, atol=0.12)
    for b in range(2):
        assert torch.allclose(torch.cov(draws[:, b].T), COVARIANCE, atol=0.1)
        if name in NORMAL:
            standard = (draws[:, b] - mean[b]) @ torch.linalg.inv(
                torch.linalg.cholesky(COVARIANCE)
            ).T
            assert stats.kstest(standard[:, 0].numpy(), "norm").statistic < 0.08


@pytest.mark.parametrize("name", EXACT)
def test_the_density_is_that_of_the_draws(learned, name):
    """It integrates to one, and the draws' mean log density is its negative entropy on a grid."""
    network, _ = learned(name)
    context = torch.tensor([[0.5, -0.4]])
    axis = torch.linspace(-5, 5, 401)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_density = network.log_prob_of_draws(points.unsqueeze(1), context)[:, 0].double()
        draws = network.sample(context, 20_000, torch.Generator().manual_seed(3))
        of_draws = network.log_prob_of_draws(draws, context)[:, 0].double()
    cell = float(axis[1] - axis[0]) ** 2
    assert math.isclose(float(log_density.exp().sum()) * cell, 1.0, abs_tol=0.01)
    expected = float((log_density.exp() * log_density).sum()) * cell
    error = float(of_draws.std()) / math.sqrt(len(of_draws))
    assert abs(float(of_draws.mean()) - expected) < 4.5 * error + 0.01


@pytest.mark.parametrize("name", EXACT)
def test_densities_of_draws_are_those_of_single_points(learned, name):
    network, _ = learned(name)
    scores, context = torch.randn(7, 3, 2), torch.randn(3, 2)
    with torch.no_grad():
        whole = network.log_prob_of_draws(scores, context)
        plain = AbstractPosteriorNetwork.log_prob_of_draws(network, scores, context)
        assert torch.allclose(whole, plain, atol=1e-4)
        assert torch.allclose(network.loss(scores[0], context), -whole[0], atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_data_sets_do_not_disturb_each_other(learned, name):
    network, _ = learned(name)
    context = torch.randn(4, 2)
    theta = torch.randn(4, 2)
    with torch.no_grad():
        if name in EXACT:
            alone = [network.log_prob(theta[b : b + 1], context[b : b + 1]) for b in range(4)]
            assert torch.allclose(torch.cat(alone), network.log_prob(theta, context), atol=1e-5)
        one = network.sample(context[:1], 50, torch.Generator().manual_seed(1))
        again = network.sample(context[:1], 50, torch.Generator().manual_seed(1))
    assert torch.equal(one, again)


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_come_from_the_generator_alone(learned, name):
    network, _ = learned(name)
    state = torch.get_rng_state()
    with torch.no_grad():
        first = network.sample(torch.zeros(1, 2), 5, torch.Generator().manual_seed(4))
        second = network.sample(torch.zeros(1, 2), 5, torch.Generator().manual_seed(5))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_all_that_is_kept(learned, name):
    network, _ = learned(name)
    other = build(name, seed=9)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        draws = [
            net.sample(torch.ones(1, 2), 20, torch.Generator().manual_seed(4))
            for net in (network, other)
        ]
    assert torch.equal(*draws)


@pytest.mark.parametrize("name", NETWORKS)
def test_double_precision_is_kept(name):
    network = build(name).double()
    context = torch.zeros(3, 2, dtype=torch.float64)
    with torch.no_grad():
        assert network.sample(context, 2).dtype == torch.float64
        assert network.loss(torch.zeros_like(context), context).dtype == torch.float64


def exact_posterior(y):
    precision = 1 / 4 + len(y)
    return y.sum() / precision, precision**-0.5


@pytest.fixture(scope="module")
def fitted():
    """A conjugate model, answered by every network but the default one."""
    found = {}

    def get(name):
        if name not in found:
            config = pma.TrainingConfig(steps=250, tolerance=None)
            networks = pma.Networks(posterior=NETWORKS[name])
            options = {"random_seed": 1, "progressbar": False, "cache": False}
            found[name] = pma.fit(
                normal_mean(data()), networks=networks, training=config, **options
            )
        return found[name]

    return get


@pytest.mark.parametrize("name", ["MixtureDensity", "ConditionalPriorVAE", "double"])
@pytest.mark.parametrize("correction", ["importance", "adaptive", "auto"])
def test_corrected_answers_are_exact(fitted, name, correction):
    posterior, y = fitted(name), data() + 1
    idata = posterior.sample({"y": y}, correction=correction, draws=1_000, random_seed=2)
    mu = np.asarray(idata.posterior["mu"]).ravel()
    mean, sd = exact_posterior(y)
    assert idata.posterior.attrs["checked"] == "accepted"
    worth = min(4_000, idata.posterior.attrs["importance_ess"])
    assert abs(mu.mean() - mean) < 4 * sd / math.sqrt(worth)
    assert abs(mu.std() / sd - 1) < 4 / math.sqrt(2 * worth)
    # log p(y) of the conjugate model.
    covariance = np.eye(len(y)) + 4.0
    expected = stats.multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)
    error = idata.posterior.attrs["log_evidence_error"]
    assert abs(idata.posterior.attrs["log_evidence"] - expected) < 4.5 * error + 1e-3


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")
def test_a_wrong_density_of_the_fitted_mixture_is_seen(fitted, monkeypatch):
    """A planted fault: proposals of another mixture than that whose density they are weighed by."""
    from pymc_amortized.importance.student_mixture import StudentMixture

    posterior, y = fitted("double"), data() + 1
    right = StudentMixture.sample
    monkeypatch.setattr(StudentMixture, "sample", lambda self, *args: right(self, *args) + 0.3)
    idata = posterior.sample({"y": y}, correction="importance", draws=1_000, random_seed=2)
    covariance = np.eye(len(y)) + 4.0
    expected = stats.multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)
    found = idata.posterior.attrs
    assert found["checked"] == "rejected" or abs(found["log_evidence"] - expected) > 0.05


def test_a_network_without_a_density_says_so(fitted):
    posterior = fitted("double")
    alone = posterior.sample(correction="none", draws=100, random_seed=1)
    assert np.isnan(alone.sample_stats["log_q"]).all()
    assert np.isfinite(alone.sample_stats["lp"]).all()
    corrected = posterior.sample(draws=100, random_seed=1)
    assert np.isnan(corrected.sample_stats["log_q"]).all()
    with pytest.raises(DensityUnavailableError, match="has none"):
        posterior.log_prob({"mu": np.zeros(3)})
    with pytest.raises(UnsupportedModelError, match="knows its density"):
        posterior.check(20, around=corrected)


def test_draws_of_the_network_alone_are_its_own(fitted):
    """Not those of the mixture that stands in for it as a proposal."""
    posterior = fitted("double")
    inference = posterior.inference
    context = inference.context(inference.read(None).smooth)
    scores, _ = inference.draw_scores(context, 20, torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = inference.estimator.sample(context, 20, torch.Generator().manual_seed(1))
    assert torch.equal(scores, expected.double())


def test_saved_and_read_again(fitted, tmp_path):
    posterior = fitted("MixtureDensity")
    path = tmp_path / "network.amortized"
    posterior.save(path)
    model = normal_mean(data())
    networks = pma.Networks(posterior=NETWORKS["MixtureDensity"])
    again = pma.load(path, model, networks=networks)
    options = {"correction": "none", "draws": 10, "random_seed": 3}
    one, other = posterior.sample(**options), again.sample(**options)
    assert np.array_equal(one.posterior["mu"], other.posterior["mu"])
