"""Answers: exact where they can be known, in the shape that users expect, and kept."""

import json
import math

import numpy as np
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidDataError,
    ObservationShapeError,
    ParameterShapeError,
    UnsupportedModelError,
)
from tests.answered import flat, sample
from tests.trained import NUM_UNITS, data

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]


def test_a_conjugate_mean(trained):
    """Draws after importance sampling are those of the known posterior, for three data sets."""
    _, posterior = trained("normal_mean")
    for seed in range(3):
        y = np.random.default_rng(seed).normal(seed, 1, NUM_UNITS)
        idata = sample(posterior, {"y": y}, correction="importance", random_seed=seed)
        assert idata.posterior.attrs["rung"] == "importance"
        variance = 1 / (1 / 4 + NUM_UNITS)
        exact = stats.norm(variance * y.sum(), math.sqrt(variance))
        # Four thousand draws, weighted, are worth at least a thousand.
        assert stats.kstest(flat(idata, "mu")[:1000], exact.cdf).pvalue > 0.0002


def test_a_wrong_posterior_is_seen(trained):
    """A planted fault: the spread of the network's draws is halved, and nothing corrects it."""
    _, posterior = trained("normal_mean")
    y = np.random.default_rng(0).normal(0, 1, NUM_UNITS)
    draws = flat(sample(posterior, {"y": y}, correction="none"), "mu")[:1000]
    narrow = draws.mean() + 0.5 * (draws - draws.mean())
    variance = 1 / (1 / 4 + NUM_UNITS)
    exact = stats.norm(variance * y.sum(), math.sqrt(variance))
    assert stats.kstest(narrow, exact.cdf).pvalue < 1e-6


def test_the_result(trained):
    _, posterior = trained("mixture")
    idata = sample(posterior, draws=250, chains=2)
    assert dict(idata.posterior["mu"].sizes) == {"chain": 2, "draw": 250, "component": 2}
    assert idata.posterior["mu"].coords["component"].values.tolist() == ["c0", "c1"]
    assert idata.indicators["y_component"].dims == ("chain", "draw", "unit")
    assert idata.indicators["y_component"].dtype.kind == "i"
    assert idata.indicators["unit"].values.tolist() == list(range(100, 100 + NUM_UNITS))
    assert idata.indicator_probabilities["y_component"].dims == ("unit", "component")
    assert np.array_equal(idata.observed_data["y"], data())
    mu = np.asarray(idata.posterior["mu"])
    assert (np.diff(mu, axis=-1) > 0).all()
    assert np.allclose(idata.posterior["distance"], mu[..., 1] - mu[..., 0])
    assert set(idata.sample_stats.data_vars) == {"lp", "log_q", "log_weight", "diverging"}
    attrs = idata.posterior.attrs
    for name in ("sampling_time", "training_time", "pareto_k", "importance_ess"):
        assert isinstance(attrs[name], float)
    assert attrs["inference_library"] == "pymc_amortized"
    assert attrs["tuning_steps"] == 0
    assert attrs["rung"] in ("importance", "adaptive")
    assert json.loads(attrs["settings"])["correction"] == "auto"
    assert not any(isinstance(v, bool | dict | type(None)) for v in attrs.values())


def test_deterministics_and_covariates(trained):
    _, posterior = trained("explicit")
    idata = sample(posterior, draws=100)
    slope, z = flat(idata, "slope"), flat(idata, "z")
    x = np.linspace(-1, 1, NUM_UNITS)
    picked = np.take_along_axis(slope, z, axis=1)
    assert np.allclose(flat(idata, "mean"), picked * x)
    assert np.allclose(flat(idata, "twice"), 2 * flat(idata, "p"))
    assert idata.posterior["mean"].dims == ("chain", "draw", "unit")
    assert np.array_equal(idata.constant_data["x"], x)
    some = sample(posterior, draws=10, var_names=["p", "z"])
    assert list(some.posterior.data_vars) == ["p"]
    assert list(some.indicators.data_vars) == ["z"]


def test_seeds(trained):
    _, posterior = trained("mixture")
    first, second = sample(posterior, draws=50), sample(posterior, draws=50)
    for name in first.posterior.data_vars:
        assert np.array_equal(first.posterior[name], second.posterior[name])
    other = sample(posterior, draws=50, random_seed=2)
    assert not np.array_equal(first.posterior["mu"], other.posterior["mu"])


def test_sizes(trained):
    """One network for 10 to 100 units: accepted answers are those of the model of that size."""
    _, posterior = trained("sized")
    for num_units in (12, 40, 90):
        y = data(num_units, seed=num_units)
        idata = sample(posterior, {"y": y}, correction="importance")
        assert idata.indicators["y_component"].shape == (4, 1000, num_units)
        assert idata.indicators["unit"].size == num_units
        theta = {name: torch.as_tensor(flat(idata, name)) for name in ("w", "mu", "sigma")}
        normal = torch.distributions.Normal(theta["mu"][:, None], theta["sigma"][:, None])
        joint = normal.log_prob(torch.as_tensor(y)[:, None]) + theta["w"][:, None].log()
        p = np.asarray(idata.indicator_probabilities["y_component"])
        assert np.allclose(joint.softmax(-1).mean(0), p, atol=1e-6)
    with pytest.raises(ObservationShapeError, match="10 to 100 units"):
        sample(posterior, {"y": data(101)})


def test_missing_values_within_the_sizes(trained):
    _, posterior = trained("sized")
    y = np.ma.masked_array(data(), np.arange(NUM_UNITS) % 10 == 0)
    idata = sample(posterior, {"y": y}, correction="none")
    p = np.asarray(idata.indicator_probabilities["y_component"])
    w = flat(idata, "w").mean(0)
    assert np.allclose(p[::10], w, atol=1e-6)
    assert np.isnan(np.asarray(idata.observed_data["y"])[::10]).all()
    assert not np.allclose(p[1], w, atol=1e-3)


def test_an_answer_that_cannot_be_checked_says_so(trained):
    _, posterior = trained("g_and_k")
    with pytest.warns(AccuracyWarning, match="could not be checked: y has no density"):
        idata = sample(posterior)
    attrs = idata.posterior.attrs
    assert attrs["rung"] == "network"
    assert attrs["checked"] == "no"
    assert "density" in attrs["not_checked_because"]
    assert "lp" not in idata.sample_stats.data_vars
    p = np.asarray(idata.indicator_probabilities["y_component"])
    assert (p[data() < -3, 0] > 0.8).all()
    assert (p[data() > 1.5, 1] > 0.8).all()
    assert "cannot be checked" in repr(posterior)
    with pytest.raises(UnsupportedModelError, match='correction="none"'):
        sample(posterior, correction="importance")
    with pytest.raises(UnsupportedModelError, match="log likelihood"):
        sample(posterior, idata_kwargs={"log_likelihood": True})


def test_a_rejected_answer_says_so(trained):
    """Data far from the prior, weighed and no more: the result is not silent, nor is it lost."""
    _, posterior = trained("mixture")
    y = np.linspace(-60, 60, NUM_UNITS)
    with pytest.warns(AccuracyWarning, match="cannot be relied on"):
        idata = sample(posterior, {"y": y}, correction="importance")
    assert idata.posterior.attrs["checked"] == "rejected"
    assert idata.posterior.attrs["rung"] == "importance"
    assert np.isfinite(flat(idata, "mu")).all()


def test_impossible_data_are_refused():
    import pymc as pm

    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        pm.Poisson("y", rate, observed=np.ones(5, dtype=int))
    config = pma.TrainingConfig(steps=20)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    with pytest.raises(InvalidDataError, match="probability zero"):
        posterior.sample({"y": [1, 2, -3, 1, 1]})


def test_log_prob_is_that_of_the_draws(trained):
    _, posterior = trained("mixture")
    idata = sample(posterior, correction="none", draws=50, chains=1)
    parameters = {name: flat(idata, name) for name in ("w", "mu", "sigma")}
    log_q = posterior.log_prob(parameters)
    assert log_q.shape == (50,)
    assert np.allclose(log_q, np.asarray(idata.sample_stats["log_q"]).ravel(), atol=1e-2)
    with pytest.raises(ParameterShapeError):
        posterior.log_prob({"w": parameters["w"]})


def test_log_prob_outside_of_the_support(trained):
    _, posterior = trained("mixture")
    draws = posterior.inference.problem.simulator.sample(3, 1).parameters
    values = {name: x.numpy() for name, x in draws.items()}
    values["w"] = np.array([[0.5, 0.5], [1.0, 1.0], [-0.5, 1.5]])
    log_q = posterior.log_prob(values)
    assert np.isfinite(log_q[0])
    assert np.isneginf(log_q[1:]).all()
    with pytest.raises(ParameterShapeError, match="as many draws"):
        posterior.log_prob({**values, "w": values["w"][:2]})
    with pytest.raises(ParameterShapeError, match="nothing"):
        posterior.log_prob({**values, "nothing": values["w"]})


def test_log_likelihood(trained):
    _, posterior = trained("mixture")
    idata = sample(posterior, draws=50, idata_kwargs={"log_likelihood": True, "log_prior": True})
    values = np.asarray(idata.log_likelihood["y"])
    assert values.shape == (4, 50, NUM_UNITS)
    theta = {name: flat(idata, name) for name in ("w", "mu", "sigma")}
    terms = stats.norm(theta["mu"][:, None], theta["sigma"][:, None]).logpdf(data()[:, None])
    expected = np.log((np.exp(terms) * theta["w"][:, None]).sum(-1))
    assert np.allclose(values.reshape(-1, NUM_UNITS), expected)
    prior = {name: np.asarray(x).reshape(200, -1) for name, x in idata.log_prior.items()}
    assert np.allclose(prior["mu"], stats.norm(0, 3).logpdf(theta["mu"]))
    assert np.allclose(prior["sigma"], stats.halfnorm(0, 1).logpdf(theta["sigma"]))
    dirichlet = [stats.dirichlet([2, 2]).logpdf(w) for w in theta["w"]]
    assert np.allclose(prior["w"][:, 0], dirichlet)


def test_repr(trained):
    _, posterior = trained("mixture")
    text = repr(posterior)
    for fact in ("y 40", "800 steps of 256", "y_component", "Pareto k below 0.7", "nats"):
        assert fact in text
    assert "<table>" in posterior._repr_html_()
    assert len(posterior.history) == 20
