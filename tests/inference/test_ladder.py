"""The ladder: each rung by name, how far it is climbed, and what is said of the answer."""

import logging
import math
import warnings

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.data.frames import stack_frames
from pymc_amortized.errors import (
    AccuracyWarning,
    AtypicalDataWarning,
    InvalidArgumentError,
    InvalidDataError,
    UnsupportedModelError,
)
from pymc_amortized.inference.correction.ladder import Corrector
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from pymc_amortized.inference.typicality import fit_summary_reference
from tests.trained import NUM_UNITS, data, mixture, normal_mean

RUNGS = ("importance", "adaptive", "mcmc")


@pytest.fixture(scope="module")
def poor():
    """A network for the conjugate mean that has hardly been trained."""
    config = pma.TrainingConfig(steps=10, tolerance=None)
    return pma.fit(normal_mean(data()), training=config, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def poor_mixture():
    config = pma.TrainingConfig(steps=10, tolerance=None)
    return pma.fit(mixture(data()), training=config, random_seed=1, progressbar=False)


def flat(idata, name):
    values = np.asarray(idata.posterior[name])
    return values.reshape(-1, *values.shape[2:])


def sample(posterior, *args, **kwargs):
    kwargs.setdefault("random_seed", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AtypicalDataWarning)
        return posterior.sample(*args, **kwargs)


def sample_many(posterior, *args, **kwargs):
    kwargs = {"random_seed": 1, "progressbar": False, **kwargs}
    return posterior.sample_many(*args, **kwargs)


def exact_mean(y):
    variance = 1 / (1 / 4 + len(y))
    return stats.norm(variance * y.sum(), math.sqrt(variance))


def exact_log_evidence(y):
    return stats.multivariate_normal(np.zeros(len(y)), np.eye(len(y)) + 4).logpdf(y)


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


def test_markov_chains_say_what_they_are(trained):
    _, posterior = trained("mixture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)  # of single divergences
        idata = sample(posterior, correction="mcmc", draws=250)
    attrs = idata.posterior.attrs
    assert attrs["rung"] == "mcmc"
    assert 0.99 < attrs["rhat"] < 1.01
    assert attrs["ess_bulk"] >= 400
    assert attrs["seconds_mcmc"] > 0
    assert idata.posterior["mu"].shape == (4, 250, 2)
    assert int(np.asarray(idata.sample_stats["diverging"]).sum()) <= attrs["divergences"]
    lp, log_q = (np.asarray(idata.sample_stats[name]).ravel() for name in ("lp", "log_q"))
    parameters = {name: flat(idata, name) for name in ("w", "mu", "sigma")}
    assert np.allclose(log_q, posterior.log_prob(parameters), atol=1e-2)
    assert np.isfinite(lp).all()


def test_chains_that_disagree_are_not_accepted(poor, monkeypatch):
    """A planted fault: each chain is moved by its own amount; it is seen, tried again, and said."""
    sampler = poor._delivery.answering.corrector.sampler
    original, calls = type(sampler).sample, []

    def apart(self, *args, **kwargs):
        from dataclasses import replace

        from pymc_amortized.inference.correction.nuts import diagnose

        chains = original(self, *args, **kwargs)
        calls.append(kwargs["draws"])
        moved = chains.vector + torch.arange(4.0)[:, None, None]
        rhat, ess = diagnose(moved.numpy())
        return replace(chains, vector=moved, rhat=rhat, ess=ess)

    monkeypatch.setattr(type(sampler), "sample", apart)
    idata = sample(poor, correction="mcmc", draws=300)
    attrs = idata.posterior.attrs
    assert calls == [300, 1200]
    assert attrs["rhat"] > 1.01
    # Importance sampling went on from the mixture fitted to the chains, and is right.
    assert (attrs["rung"], attrs["checked"]) == ("adaptive", "accepted")
    assert idata.posterior["mu"].shape == (4, 300)
    draws, exact = flat(idata, "mu"), exact_mean(data() + 0)
    assert abs(draws.mean() - exact.mean()) < 4.5 * exact.std() / math.sqrt(400)
    # Where that is rejected too, the draws of the chains are returned, and it is said.
    monkeypatch.setattr(
        WeightedDraws, "accepted", lambda self, weights: torch.zeros_like(weights.ess) > 0
    )
    with pytest.warns(AccuracyWarning, match="not to be trusted: R-hat"):
        idata = sample(poor, correction="mcmc", draws=300)
    assert (idata.posterior.attrs["rung"], idata.posterior.attrs["checked"]) == ("mcmc", "rejected")
    assert np.isnan(idata.posterior.attrs["log_evidence"])


def two_means(y):
    """Two modes, of weights that the prior of w makes unequal."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w=np.array([0.4, 0.6]), mu=mu, sigma=1, observed=y)
    return model


def test_chains_that_miss_a_mode_are_not_believed():
    """Both modes of an unordered mixture are in the answer with their weights, on every rung."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(-2, 1, 12), rng.normal(2, 1, 8)])
    config = pma.TrainingConfig(steps=30, tolerance=None)
    posterior = pma.fit(two_means(y), training=config, random_seed=1, progressbar=False)
    grid = np.linspace(-7, 7, 701)
    density = stats.norm(grid[:, None], 1).pdf(y)
    mixed = 0.4 * density[:, None] + 0.6 * density[None]
    log_p = np.log(mixed).sum(-1) + stats.norm(0, 3).logpdf(grid)[:, None]
    log_p = log_p + stats.norm(0, 3).logpdf(grid)
    p = np.exp(log_p - log_p.max())
    log_evidence = math.log(p.sum()) + log_p.max() + 2 * math.log(grid[1] - grid[0])
    below = p[np.triu_indices(701, 1)].sum() / p.sum()
    assert 0.1 < below < 0.9
    for rung in RUNGS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            idata = sample(posterior, correction=rung, draws=500)
        attrs, mu = idata.posterior.attrs, flat(idata, "mu")
        if attrs["checked"] == "accepted":
            assert abs((mu[:, 0] < mu[:, 1]).mean() - below) < 0.08
            assert abs(attrs["log_evidence"] - log_evidence) < 0.1
        assert rung == "importance" or attrs["checked"] == "accepted"


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
    attrs = sample(posterior).posterior.attrs
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


def test_one_line_says_where_an_answer_comes_from(trained, caplog):
    _, posterior = trained("normal_mean")
    with caplog.at_level(logging.INFO, logger="pymc_amortized"):
        sample(posterior)
    [record] = [r for r in caplog.records if r.name == "pymc_amortized"]
    for word in ("Answered by", "Pareto k", "ESS", "accepted", "importance"):
        assert word in record.getMessage()


def test_many_data_sets(trained):
    """Each of 12 conjugate posteriors is right; one data set is bad, and says so."""
    _, posterior = trained("normal_mean")
    rng = np.random.default_rng(0)
    ys = [rng.normal(rng.normal(0, 2), 1, NUM_UNITS) for _ in range(12)]
    bad = np.full(NUM_UNITS, np.nan)
    datasets = [{"y": y} for y in (*ys, bad)]
    with pytest.warns(AccuracyWarning, match="1 of 13 data sets could not be answered"):
        idata = sample_many(posterior, datasets)
    mu = np.asarray(idata.posterior["mu"])
    assert idata.posterior["mu"].dims == ("chain", "draw", "dataset")
    assert mu.shape == (4, 1_000, 13)
    for i, y in enumerate(ys):
        draws = mu[..., i].ravel()
        assert stats.kstest(draws[:1000], exact_mean(y).cdf).pvalue > 0.0001
    assert np.isnan(mu[..., 12]).all()
    table = pma.answers_table(idata)
    assert table["checked"].tolist() == ["accepted"] * 12 + ["failed"]
    assert "NaN" in table["error"].iloc[12]
    assert (table["error"].iloc[:12] == "").all()
    found = table["log_evidence"].to_numpy()[:12]
    assert np.allclose(found, [exact_log_evidence(y) for y in ys], atol=0.1)
    assert np.array_equal(np.asarray(idata.observed_data["y"])[:12], np.stack(ys))


def test_answers_do_not_mix_data_sets_up(trained):
    """A planted fault: the same check fails when answers are one data set off."""
    _, posterior = trained("normal_mean")
    rng = np.random.default_rng(0)
    ys = np.stack([rng.normal(m, 1, NUM_UNITS) for m in (-2, 0, 2)])
    mu = np.asarray(sample_many(posterior, {"y": ys}, draws=250).posterior["mu"])
    for i in range(3):
        assert stats.kstest(mu[..., i].ravel(), exact_mean(ys[i]).cdf).pvalue > 0.0002
        assert stats.kstest(mu[..., i - 1].ravel(), exact_mean(ys[i]).cdf).pvalue < 1e-6


def test_many_mixtures(trained, tmp_path):
    _, posterior = trained("mixture")
    ys = posterior.inference.problem.simulator.sample(5, 3).observations["y"].numpy()
    idata = sample_many(posterior, {"y": ys}, draws=100)
    assert idata.posterior["y_component"].dims == ("chain", "draw", "dataset", "unit")
    assert idata.posterior["y_component"].dtype == np.int8
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


def test_many_of_different_sizes(trained):
    _, posterior = trained("sized")
    datasets = [{"y": data(n, seed=n)} for n in (15, 60, 200, 33)]
    with pytest.warns(AccuracyWarning, match="1 of 4 data sets could not be answered"):
        idata = sample_many(posterior, datasets, draws=50)
    z = np.asarray(idata.posterior["y_component"])
    assert z.shape == (4, 50, 4, 60)
    p = np.asarray(idata.indicator_probabilities["y_component"])
    for i, n in enumerate((15, 60, 0, 33)):
        assert (z[:, :, i, :n] >= 0).all()
        assert (z[:, :, i, n:] == -1).all()
        assert np.allclose(p[i, :n].sum(-1), 1)
        assert np.isnan(p[i, n:]).all()
    assert "200" in str(idata.answers["error"].values[2])


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


def test_names_of_statistics_and_what_failed():
    """Variables may be called as statistics are; what failed is NaN, whatever its type."""
    with pm.Model() as model:
        lp = pm.Normal("lp", 0, 1)
        pm.Deterministic("positive", lp > 0)
        z = pm.Categorical("z", np.ones(130) / 130, shape=3)
        pm.Deterministic("largest", z.max())
        pm.Normal("y", lp + 10.0 * z, 1, observed=np.zeros(3))
    config = pma.TrainingConfig(steps=10, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False)
    ys = [np.array([1290.0, 0.0, 1280.0]), np.full(3, np.nan)]
    with pytest.warns(AccuracyWarning, match="1 of 2 data sets could not be answered"):
        idata = sample_many(posterior, [{"y": y} for y in ys], draws=50, correction="adaptive")
    assert set(idata.posterior.data_vars) == {"lp", "positive", "z", "largest"}
    z = np.asarray(idata.posterior["z"])
    assert (z[:, :, 0] == [129, 0, 128]).all()
    assert (z[:, :, 1] == -1).all()
    for name in ("lp", "positive", "largest"):
        assert np.isnan(np.asarray(idata.posterior[name])[:, :, 1]).all()
    assert (np.asarray(idata.posterior["largest"])[:, :, 0] == 129).all()
    with pytest.warns(AccuracyWarning):
        only = sample_many(posterior, [{"y": y} for y in ys], draws=5, var_names=["largest"])
    assert list(only.posterior.data_vars) == ["largest"]


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ([], "an empty one"),
        (np.zeros((3, NUM_UNITS)), "ndarray"),
        ({"y": 3.0}, "leading axis"),
        ({"y": np.zeros((0, NUM_UNITS))}, "leading axis"),
        ([{"x": np.zeros(NUM_UNITS)}], "neither observes"),
        ("y", "str"),
        ([np.zeros(NUM_UNITS)], "number 0 is a ndarray"),
        ({"y": [np.zeros(5), np.zeros(9)]}, "of one length"),
    ],
    ids=str,
)
def test_what_is_not_many_data_sets(trained, datasets, words):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidDataError, match=words):
        sample_many(posterior, datasets)


def test_the_table_of_something_else(trained):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidArgumentError, match=r"posterior\.sample_many"):
        pma.answers_table(sample(posterior))


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


def test_chains_are_compiled_once(poor):
    seconds = []
    for seed in range(2):
        dataset = poor.inference.read({"y": data(seed=seed)})
        generator = torch.Generator().manual_seed(seed)
        [draws] = poor._delivery.answering.corrector.draw([dataset], 1_000, 4, "mcmc", generator)
        seconds.append(draws.mcmc.compile_seconds)
    assert seconds[1] == 0


def test_warnings_name_the_users_line(poor):
    """Through both doors."""
    y = np.random.default_rng(0).normal(12, 1, NUM_UNITS)
    with pytest.warns(AtypicalDataWarning) as caught:
        poor.sample({"y": y}, random_seed=1)
    assert {w.filename for w in caught} == {__file__}
    config = pma.TrainingConfig(steps=10, tolerance=None)
    with normal_mean(y), pytest.warns(AtypicalDataWarning) as caught:
        pm.sample(method="amortized", training=config, random_seed=1, progressbar=False)
    assert {w.filename for w in caught} == {__file__}
