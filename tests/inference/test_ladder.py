"""The ladder: each rung by name, how far it is climbed, and what is said of the answer."""

import math
import warnings

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    AtypicalDataWarning,
    InvalidDataError,
    UnsupportedModelError,
)
from pymc_amortized.inference.correction.ladder import Corrector
from tests.answered import flat
from tests.inference.answered import RUNGS, exact_log_evidence, exact_mean, sample, sample_many
from tests.trained import NUM_UNITS, data, mixture


@pytest.fixture(scope="module")
def poor_mixture():
    config = pma.TrainingConfig(steps=10, tolerance=None)
    return pma.fit(mixture(data()), training=config, random_seed=1, progressbar=False)


@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_is_right(poor, rung):
    """A network of 10 steps, each rung asked for by name, and the known posterior."""
    y = np.random.default_rng(3).normal(1, 1, NUM_UNITS)
    idata = sample(poor, {"y": y}, correction=rung)
    attrs = idata.posterior.attrs
    assert attrs["rung"] == rung
    assert attrs["checked"] == "accepted"
    exact = exact_mean(y)
    draws = flat(idata, "mu")
    worth = attrs["ess_bulk"] if rung == "mcmc" else min(attrs["importance_ess"], 4_000)
    assert abs(draws.mean() - exact.mean()) < 4.5 * exact.std() / math.sqrt(worth)
    assert abs(draws.std() / exact.std() - 1) < 4.5 / math.sqrt(worth)


def test_a_hardly_trained_network_is_seen(poor):
    """A planted fault: without correction the same check fails."""
    y = np.random.default_rng(3).normal(1, 1, NUM_UNITS)
    draws, exact = flat(sample(poor, {"y": y}, correction="none"), "mu"), exact_mean(y)
    off = abs(draws.mean() - exact.mean()) / exact.std()
    assert off > 4.5 / math.sqrt(400) or abs(draws.std() / exact.std() - 1) > 4.5 / math.sqrt(400)


def test_auto_climbs_as_far_as_needed(poor_mixture, trained):
    """Both networks, good and hardly trained, end in the same posterior; only the way differs."""
    _, good = trained("mixture")
    first, second = sample(poor_mixture), sample(good)
    assert first.posterior.attrs["checked"] == second.posterior.attrs["checked"] == "accepted"
    assert first.posterior.attrs["rung"] in ("adaptive", "mcmc")
    assert first.posterior.attrs["network_pareto_k"] > second.posterior.attrs["network_pareto_k"]
    for name in ("w", "mu", "sigma"):
        a, b = flat(first, name), flat(second, name)
        # Each worth at least 400 draws; ten quantities.
        assert (np.abs(a.mean(0) - b.mean(0)) < 4.5 * b.std(0) * math.sqrt(2 / 400)).all()


def test_the_evidence_of_a_conjugate_model(poor, trained):
    """log p(y) is known: from a good network, a poor one, and MCMC chains."""
    _, good = trained("normal_mean")
    for seed in range(3):
        y = np.random.default_rng(seed).normal(seed - 1, 1, NUM_UNITS)
        for posterior, rung in ((good, "auto"), (poor, "auto"), (poor, "mcmc")):
            attrs = sample(posterior, {"y": y}, correction=rung).posterior.attrs
            off = abs(attrs["log_evidence"] - exact_log_evidence(y))
            assert off < min(0.1, 5 * attrs["log_evidence_error"] + 1e-4)


def test_the_evidence_of_an_ordered_mixture(trained):
    """log p(y) by brute force over the prior of the model without order: the same number."""
    _, posterior = trained("mixture")
    y = data()[:NUM_UNITS]
    attrs = sample(posterior, draws=8_000).posterior.attrs
    rng = np.random.default_rng(0)
    terms = []
    for _ in range(20):
        w = rng.dirichlet([2, 2], size=20_000)
        mu, sigma = rng.normal(0, 3, (20_000, 2)), np.abs(rng.normal(size=(20_000, 2)))
        z = (y[:, None, None] - mu) / sigma
        parts = np.log(w) - np.log(sigma) - z**2 / 2 - math.log(2 * math.pi) / 2
        terms.append(np.logaddexp(parts[..., 0], parts[..., 1]).sum(0))
    terms = np.concatenate(terms)
    weights = np.exp(terms - terms.max())
    brute = math.log(weights.mean()) + terms.max()
    error = weights.std() / weights.mean() / math.sqrt(len(weights))
    assert error < 0.1
    assert abs(attrs["log_evidence"] - brute) < 5 * math.hypot(error, attrs["log_evidence_error"])
    # A planted fault: without the mass of the ordered cone it is off by log 2.
    off = abs(attrs["log_evidence"] - math.log(2) - brute)
    assert off > 5 * math.hypot(error, attrs["log_evidence_error"])


def test_the_mass_of_a_restricted_prior():
    def mass(transform=None, potential=False):
        with pm.Model() as model:
            options = {} if transform is None else {"transform": transform}
            mu = pm.Normal("mu", 0, 1, shape=3, **options)
            if potential:
                pm.Potential("order", pm.math.switch(mu[0] < mu[1], 0.0, -np.inf))
            pm.NormalMixture("y", w=np.ones(3) / 3, mu=mu, sigma=1, observed=np.zeros(5))
        return pma.compile_simulator(model).log_prior_mass()

    assert mass() == (0.0, 0.0)
    log_mass, error = mass(pm.distributions.transforms.ordered)
    assert math.isclose(log_mass, -math.log(6), abs_tol=1e-9)
    assert error == 0
    log_mass, error = mass(potential=True)
    assert abs(log_mass + math.log(2)) < 5 * error < 0.03


def test_many_mixtures(trained, tmp_path):
    _, posterior = trained("mixture")
    ys = posterior.inference.problem.simulator.sample(5, 3).observations["y"].numpy()
    idata = sample_many(posterior, {"y": ys}, draws=100)
    assert idata.indicators["y_component"].dims == ("chain", "draw", "dataset", "unit")
    assert idata.indicators["y_component"].dtype == np.int8
    assert idata.indicator_probabilities["y_component"].dims == ("dataset", "unit", "component")
    mu = np.asarray(idata.posterior["mu"])
    assert np.allclose(idata.posterior["distance"], mu[..., 1] - mu[..., 0])
    for i in range(5):
        theta = {
            k: torch.as_tensor(np.asarray(idata.posterior[k])[:, :, i].reshape(-1, 2))
            for k in ("w", "mu", "sigma")
        }
        normal = torch.distributions.Normal(theta["mu"][:, None], theta["sigma"][:, None])
        joint = normal.log_prob(torch.as_tensor(ys[i])[:, None]) + theta["w"][:, None].log()
        p = np.asarray(idata.indicator_probabilities["y_component"])[i]
        assert np.allclose(joint.softmax(-1).mean(0), p, atol=1e-6)
    path = tmp_path / "many.nc"
    idata.to_netcdf(path)
    only = sample_many(posterior, {"y": ys}, draws=10, var_names=["mu"])
    assert list(only.posterior.data_vars) == ["mu"]


def test_a_batch_is_answered_as_its_members(trained):
    """Together or alone: the posterior means agree within their errors."""
    _, posterior = trained("mixture")
    ys = posterior.inference.problem.simulator.sample(4, 8).observations["y"].numpy()
    together = np.asarray(sample_many(posterior, {"y": ys}).posterior["mu"])
    for i, y in enumerate(ys):
        alone = flat(sample(posterior, {"y": y}), "mu")
        both = together[:, :, i].reshape(-1, 2)
        error = alone.std(0) * math.sqrt(2 / 400)
        assert (np.abs(both.mean(0) - alone.mean(0)) < 4.5 * error).all()


def test_draws_for_one_data_set_differ(trained):
    """Alone, draws of a good network are drawn on until few repeat; planted: in a batch they do."""
    _, posterior = trained("normal_mean")
    ys = posterior.inference.problem.simulator.sample(24, 8).observations["y"].numpy()
    alone = [sample(posterior, {"y": y}).posterior.attrs for y in ys]
    drawn_on = [a["rung"] == "importance" and a["num_proposals"] > 4_000 for a in alone]
    assert sum(drawn_on) >= 3
    together = sample_many(posterior, {"y": ys}).answers
    for attrs, more, one in zip(alone, drawn_on, together.num_distinct_draws.values, strict=True):
        if more:
            assert attrs["num_distinct_draws"] > 0.965 * 4_000
            assert one < attrs["num_distinct_draws"]
    assert (together.num_distinct_draws.values[drawn_on] < 0.97 * 4_000).all()


def test_labels_of_tables_are_not_positions(trained):
    """A data frame holds data sets in its rows."""
    import pandas

    _, posterior = trained("normal_mean")
    ys = np.stack([np.full(NUM_UNITS, float(m)) for m in (-2, 0, 2)])
    frame = pandas.DataFrame(ys, index=[7, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AtypicalDataWarning)
        idata = sample_many(posterior, {"y": frame}, draws=100)
    assert np.array_equal(idata.observed_data["y"], ys)
    means = np.asarray(idata.posterior["mu"]).mean((0, 1))
    assert (np.abs(means - [-2, 0, 2]) < 0.2).all()


def test_without_a_density_there_is_no_ladder(trained):
    _, posterior = trained("g_and_k")
    for rung in RUNGS:
        with pytest.raises(UnsupportedModelError, match='correction="none"'):
            sample(posterior, correction=rung)
    ys = posterior.inference.problem.simulator.sample(3, 3).observations["y"].numpy()
    with pytest.warns(AccuracyWarning, match="3 of 3 data sets could not be checked"):
        idata = sample_many(posterior, {"y": ys}, draws=10)
    assert idata.answers["rung"].values.tolist() == ["network"] * 3


@pytest.fixture(scope="module")
def counts():
    """A network for five counts of one rate."""
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        pm.Poisson("y", rate, observed=np.ones(5, dtype=int))
    config = pma.TrainingConfig(steps=20)
    return pma.fit(model, training=config, random_seed=1, progressbar=False)


def test_an_impossible_data_set_does_not_lose_the_others(counts):
    ys = np.array([[1, 2, 0, 1, 3], [1, 2, -3, 1, 1], [0, 0, 1, 0, 0]])
    with pytest.warns(AccuracyWarning, match="1 of 3 data sets could not be answered"):
        idata = sample_many(counts, {"y": ys})
    assert idata.answers["checked"].values.tolist() == ["accepted", "failed", "accepted"]
    rate = np.asarray(idata.posterior["rate"])
    exact = stats.gamma(2 + ys[0].sum(), scale=1 / 6)
    assert stats.kstest(rate[:, :, 0].ravel()[:1000], exact.cdf).pvalue > 0.0002
    assert np.isnan(rate[:, :, 1]).all()


def test_what_is_done_is_kept_when_interrupted(trained, monkeypatch):
    _, posterior = trained("normal_mean")
    ys = posterior.inference.problem.simulator.sample(40, 3).observations["y"].numpy()
    original, calls = Corrector.draw, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Corrector, "draw", interrupted)
    with pytest.warns(AccuracyWarning, match="8 of 40 data sets could not be answered"):
        idata = sample_many(posterior, {"y": ys}, draws=50)
    table = pma.answers_table(idata)
    assert (table["checked"][:32] == "accepted").all()
    assert table["error"].iloc[-1].startswith("interrupted")
    calls[:] = [1, 1]
    with pytest.raises(KeyboardInterrupt):
        sample_many(posterior, {"y": ys}, draws=50)


def test_when_nothing_can_be_answered(counts):
    with pytest.raises(InvalidDataError, match="probability zero"):
        sample_many(counts, {"y": np.full((2, 5), -1)})
