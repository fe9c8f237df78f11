"""Results for many data sets."""

import numpy as np
import pymc as pm
import pytest

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
)
from tests.inference.answered import exact_log_evidence, exact_mean, sample, sample_many
from tests.trained import NUM_UNITS, data


def test_many_data_sets(trained):
    """Each of 12 conjugate posteriors is right; one data set is bad, and says so."""
    _, posterior = trained("normal_mean")
    rng = np.random.default_rng(0)
    ys = [rng.normal(rng.normal(0, 2), 1, NUM_UNITS) for _ in range(12)]
    bad = np.full(NUM_UNITS, np.inf)
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
    assert "infinite" in table["error"].iloc[12]
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


def test_many_of_different_sizes(trained):
    _, posterior = trained("sized")
    datasets = [{"y": data(n, seed=n)} for n in (15, 60, 200, 33)]
    with pytest.warns(AccuracyWarning, match="1 of 4 data sets could not be answered"):
        idata = sample_many(posterior, datasets, draws=50)
    z = np.asarray(idata.indicators["y_component"])
    assert z.shape == (4, 50, 4, 60)
    p = np.asarray(idata.indicator_probabilities["y_component"])
    for i, n in enumerate((15, 60, 0, 33)):
        assert (z[:, :, i, :n] >= 0).all()
        assert (z[:, :, i, n:] == -1).all()
        assert np.allclose(p[i, :n].sum(-1), 1)
        assert np.isnan(p[i, n:]).all()
    assert "200" in str(idata.answers["error"].values[2])


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
    ys = [np.array([1290.0, 0.0, 1280.0]), np.full(3, np.inf)]
    with pytest.warns(AccuracyWarning, match="1 of 2 data sets could not be answered"):
        idata = sample_many(posterior, [{"y": y} for y in ys], draws=50, correction="adaptive")
    assert set(idata.posterior.data_vars) == {"lp", "positive", "largest"}
    z = np.asarray(idata.indicators["z"])
    assert (z[:, :, 0] == [129, 0, 128]).all()
    assert (z[:, :, 1] == -1).all()
    for name in ("lp", "positive", "largest"):
        assert np.isnan(np.asarray(idata.posterior[name])[:, :, 1]).all()
    assert (np.asarray(idata.posterior["largest"])[:, :, 0] == 129).all()
    with pytest.warns(AccuracyWarning):
        only = sample_many(posterior, [{"y": y} for y in ys], draws=5, var_names=["largest"])
    assert list(only.posterior.data_vars) == ["largest"]


def test_the_table_of_something_else(trained):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidArgumentError, match=r"posterior\.sample_many"):
        pma.answers_table(sample(posterior))
