"""Answers that begin at the prior, of models whose density is known: nothing is trained."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import (
    InvalidArgumentError,
    InvalidDataError,
    UnsupportedModelError,
)
from pymc_amortized.inference.correction import ladder
from tests.answered import flat, sample
from tests.inference.grid import grid, grid_posterior
from tests.inference.second_estimates import straight_lines
from tests.trained import (
    chain,
    chain_without_density,
    data,
    explicit,
    normal_mean,
    simulate_chain,
)

NOTHING = {"training": "none", "random_seed": 1, "progressbar": False}
Y = data() + 1


def conjugate(y):
    """Mean, standard deviation and evidence of ``normal_mean``."""
    precision = 1 / 4 + len(y)
    mean = y.sum() / precision
    log_evidence = -len(y) / 2 * np.log(2 * np.pi) - np.log(4 * precision) / 2
    log_evidence += (precision * mean**2 - (y**2).sum()) / 2
    return mean, precision**-0.5, log_evidence


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    posterior = pma.fit(normal_mean(Y), cache=cache, **NOTHING)
    assert not list(cache.iterdir())
    return posterior


def test_a_conjugate_answer(untrained):
    idata = sample(untrained)
    mean, sd, log_evidence = conjugate(Y)
    attrs, mu = idata.posterior.attrs, flat(idata, "mu")
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "bridge")
    assert abs(mu.mean() - mean) < 4.5 * sd / np.sqrt(1_000)
    assert abs(mu.std() - sd) < 4.5 * sd / np.sqrt(2 * 1_000)
    assert abs(attrs["log_evidence"] - log_evidence) < 4.5 * attrs["log_evidence_error"] + 0.01
    assert np.isnan(attrs["simulation_quantile"])
    # What it began with, draws of the prior, would not pass.
    context = untrained.inference.context(untrained.inference.read(None).smooth)
    assert context.shape == (1, 0)
    prior = pma.compile_simulator(normal_mean(Y)).sample(1_000, 1).parameters["mu"]
    assert abs(float(prior.std()) - sd) > 20 * sd / np.sqrt(2 * 1_000)


def test_many_parameters():
    """Thirteen, which particles find along gradients."""
    model, mean, sd, log_evidence = straight_lines()
    idata = sample(pma.fit(model, **NOTHING))
    attrs, b = idata.posterior.attrs, flat(idata, "b")
    assert attrs["checked"] == "accepted"
    assert bool((np.abs(b.mean(0) - mean) < 4.5 * sd / np.sqrt(1_000)).all())
    assert bool((np.abs(b.std(0) - sd) < 4.5 * sd / np.sqrt(2 * 1_000)).all())
    assert abs(attrs["log_evidence"] - log_evidence) < 4.5 * attrs["log_evidence_error"] + 0.02


def test_states_are_those_of_the_grid():
    _, y = simulate_chain(12, 3)
    posterior = pma.fit(chain(y), **NOTHING)
    idata = sample(posterior)
    assert idata.posterior.attrs["checked"] == "accepted"
    p, _, smoothing, _ = grid_posterior(y)
    mu, _ = grid()
    sd = np.sqrt(p @ (mu - p @ mu) ** 2)
    assert abs(flat(idata, "mu").mean() - p @ mu) < 4.5 * sd / np.sqrt(1_000) + 0.005
    assert np.abs(idata.indicator_probabilities["smoothing"] - smoothing).max() < 0.04
    assert np.isnan(idata.posterior.attrs["classification_gap_z"])
    filtered = posterior.filter(draws=200, random_seed=1)
    assert np.abs(filtered.probabilities - grid_posterior(y)[1][-1]).max() < 0.05


def test_indicators_have_the_density_s_probabilities():
    """Averaged over draws: the share of ones is that of the probabilities."""
    rng = np.random.default_rng(0)
    slope = np.where(rng.random(40) < 0.4, 1.8, -1.5)
    model = explicit(slope * np.linspace(-1, 1, 40) + 0.5 * rng.normal(size=40))
    idata = sample(pma.fit(model, **NOTHING), draws=2_000)
    z, p = flat(idata, "z"), np.asarray(idata.indicator_probabilities["z"])[:, 1]
    assert idata.posterior.attrs["checked"] == "accepted"
    assert bool((np.abs(z.mean(0) - p) < 4.5 * np.sqrt(0.25 / 8_000)).all())
    assert ((slope > 0) == (p > 0.5)).mean() > 0.7


def test_many_data_sets(untrained):
    datasets = [{"y": data(seed=s) + s} for s in range(5)]
    idata = untrained.sample_many(datasets, draws=500, random_seed=1, progressbar=False)
    assert idata.answers["checked"].values.tolist() == ["accepted"] * 5
    for b, one in enumerate(datasets):
        mean, sd, log_evidence = conjugate(one["y"])
        mu = np.asarray(idata.posterior["mu"])[:, :, b]
        assert abs(mu.mean() - mean) < 4.5 * sd / np.sqrt(1_000)
        assert abs(float(idata.answers["log_evidence"][b]) - log_evidence) < 0.05


def test_by_the_door_of_pymc():
    with normal_mean(Y):
        idata = pm.sample(
            draws=100, method="amortized", training="none", random_seed=1, progressbar=False
        )
    mean, sd, _ = conjugate(Y)
    assert abs(flat(idata, "mu").mean() - mean) < 4.5 * sd / np.sqrt(300)
    assert idata.posterior.attrs["training_time"] == 0


def test_saved_and_read_again(untrained, tmp_path):
    untrained.save(tmp_path / "nothing")
    again = pma.load(tmp_path / "nothing", normal_mean(Y))
    assert not again.inference.estimator.is_trained
    assert np.array_equal(*(flat(sample(p, draws=50), "mu") for p in (untrained, again)))


def test_it_says_that_nothing_was_trained(untrained):
    assert "trained: no: answers begin at the prior" in repr(untrained)
    assert untrained.record.steps == 0
    assert untrained.history == ()


def bounded(y):
    """Values between ``low`` and ``low + 1``, which prior draws seldom all allow."""
    with pm.Model() as model:
        low = pm.Normal("low", 0, 30)
        pm.Uniform("y", low, low + 1, observed=y)
    return model


def test_data_that_the_prior_hardly_ever_allows(monkeypatch):
    """One draw of ten thousand or so: by the first 4,000 alone they would be refused."""
    y = 40 + np.linspace(0, 0.985, 50)
    posterior = pma.fit(bounded(y), **NOTHING)
    with monkeypatch.context() as patch:
        patch.setattr(ladder, "_MAX_PROPOSALS", 0)
        with pytest.raises(InvalidDataError, match="4,000 draws of the prior"):
            sample(posterior)
    low = flat(sample(posterior, correction="adaptive"), "low")
    assert bool(((low >= y.max() - 1) & (low <= y.min())).all())


def test_impossible_data_are_refused():
    with pytest.raises(InvalidDataError, match=r"128,000 draws of the prior.*Or train a network"):
        pma.fit(bounded(np.array([0.0, 2.0])), **NOTHING).sample(random_seed=1)


def test_draws_of_the_prior_are_no_answer(untrained):
    with pytest.raises(InvalidArgumentError, match="would be those of the prior"):
        untrained.sample(correction="none")
    with pytest.raises(InvalidArgumentError, match=r"pma\.fit"):
        untrained.log_prob({"mu": np.zeros(3)})


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_a_model_without_a_density_needs_a_network():
    _, y = simulate_chain(12, 3)
    with pytest.raises(UnsupportedModelError, match=r"y has no density[^$]*training=.default."):
        pma.fit(chain_without_density(y), **NOTHING)


def test_networks_that_nobody_trains_are_refused():
    with pytest.raises(InvalidArgumentError, match="Leave networks out, or train"):
        pma.fit(normal_mean(Y), networks=pma.Networks(), **NOTHING)


def test_how_little_can_be_trained():
    assert pma.TrainingConfig(steps=0).steps == 0
    with pytest.raises(InvalidArgumentError, match="steps to be at least 0; got -1"):
        pma.TrainingConfig(steps=-1)
    with pytest.raises(InvalidArgumentError, match="batch_size to be at least 1; got 0"):
        pma.TrainingConfig(batch_size=0)
