"""The rung of MCMC chains."""

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
)
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from tests.answered import flat
from tests.inference.answered import RUNGS, exact_mean, sample
from tests.trained import data


def test_markov_chains_say_what_they_are(trained):
    """Of one mode: chains of the mixture, which has two, agree within 0.01 for some seeds alone."""
    _, posterior = trained("normal_mean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)  # of single divergences
        idata = sample(posterior, correction="mcmc", draws=1_000)
    attrs = idata.posterior.attrs
    assert attrs["rung"] == "mcmc"
    assert 0.99 < attrs["rhat"] < 1.01
    assert attrs["ess_bulk"] >= 400
    assert attrs["seconds_mcmc"] > 0
    assert idata.posterior["mu"].shape == (4, 1_000)
    assert int(np.asarray(idata.sample_stats["diverging"]).sum()) <= attrs["divergences"]
    lp, log_q = (np.asarray(idata.sample_stats[name]).ravel() for name in ("lp", "log_q"))
    assert np.allclose(log_q, posterior.log_prob({"mu": flat(idata, "mu")}), atol=1e-2)
    assert np.isfinite(lp).all()


def test_chains_that_disagree_are_not_accepted(poor, monkeypatch):
    """A planted fault: each chain is moved by its own amount; it is seen, and said.

    What is a little off is tried again, with longer chains; what is far off is not.
    """
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

    def a_little_off(self, *args, **kwargs):
        from dataclasses import replace

        chains = original(self, *args, **kwargs)
        calls.append(kwargs["draws"])
        return replace(chains, rhat=1.03, ess=200.0) if len(calls) == 1 else chains

    monkeypatch.setattr(type(sampler), "sample", a_little_off)
    idata = sample(poor, correction="mcmc", draws=300)
    assert calls == [300, 1200]
    assert (idata.posterior.attrs["rung"], idata.posterior.attrs["checked"]) == ("mcmc", "accepted")
    calls.clear()
    monkeypatch.setattr(type(sampler), "sample", apart)
    idata = sample(poor, correction="mcmc", draws=300)
    attrs = idata.posterior.attrs
    assert calls == [300]
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


def test_chains_are_compiled_once(poor):
    seconds = []
    for seed in range(2):
        dataset = poor.inference.read({"y": data(seed=seed)})
        generator = torch.Generator().manual_seed(seed)
        [draws] = poor._delivery.answering.corrector.draw([dataset], 1_000, 4, "mcmc", generator)
        seconds.append(draws.mcmc.compile_seconds)
    assert seconds[1] == 0
