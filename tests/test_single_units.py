"""Models with one unit: an indicator of everything, and observations without an axis of units."""

import numpy as np
import pymc as pm
import pytest

from pymc.model.transform.optimization import freeze_dims_and_data
from scipy import stats
from scipy.special import gammaln, softmax

import pymc_amortized as pma

from pymc_amortized.errors import ObservationShapeError
from tests.answered import flat

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]

OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False}
BRIEF = pma.TrainingConfig(steps=5, tolerance=None, num_validation=32, batch_size=32)
NUM_TIMES = 30
COUNTS = np.random.default_rng(4).poisson(np.where(np.arange(NUM_TIMES) < 18, 3.0, 1.2))


def switch_point(shape=()):
    with pm.Model() as model:
        when = pm.DiscreteUniform("when", 0, NUM_TIMES - 1, shape=shape)
        early, late = (pm.Exponential(name, 1) for name in ("early", "late"))
        rate = pm.math.switch(when >= np.arange(NUM_TIMES), early, late)
        pm.Poisson("y", rate, observed=COUNTS)
    return model


def switch_probabilities(counts):
    """From the closed form of each piece: rates are Gamma(1, 1) before they have been seen."""
    log_p = []
    for when in range(NUM_TIMES):
        pieces = counts[: when + 1], counts[when + 1 :]
        each = [gammaln(y.sum() + 1) - (y.sum() + 1) * np.log(len(y) + 1) for y in pieces]
        log_p.append(sum(each))
    return softmax(log_p)


@pytest.mark.parametrize("shape", [(), (1,)], ids=str)
def test_a_switch_point(shape):
    """One indicator with many values, of which each counts for all time points."""
    with switch_point(shape):
        result = pma.sample(**OPTIONS)
    exact = switch_probabilities(COUNTS)
    found = np.asarray(result["indicator_probabilities"]["when"]).ravel()
    assert np.abs(found - exact).max() < 0.015
    drawn = np.bincount(flat(result, "when").ravel(), minlength=NUM_TIMES)
    assert np.abs(drawn / drawn.sum() - exact).max() < 0.04
    assert flat(result, "when").shape[1:] == shape
    before = np.cumsum(COUNTS)
    early = (exact * (before + 1) / (np.arange(NUM_TIMES) + 2)).sum()
    assert abs(float(result["posterior"]["early"].mean()) - early) < 0.05


def test_a_network_for_a_switch_point():
    """It is trained, and answers other data of the same kind."""
    posterior = pma.fit(switch_point(), training=BRIEF, **OPTIONS)
    other = COUNTS[::-1].copy()
    result = posterior.sample({"y": other}, random_seed=1)
    found = np.asarray(result["indicator_probabilities"]["when"])
    assert np.abs(found - switch_probabilities(other)).max() < 0.02
    many = posterior.sample_many({"y": np.stack([COUNTS, other])}, random_seed=1, draws=500)
    assert many["posterior"]["when"].sizes["dataset"] == 2


def test_one_indicator_chooses_between_two_models():
    y = np.random.default_rng(2).normal(0.4, 1, 20)
    with pm.Model():
        z = pm.Bernoulli("z", 0.5)
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", z * mu, 1, observed=y)
        result = pma.sample(**OPTIONS)
    spread = np.eye(20) + 1.0
    of_both = [stats.multivariate_normal(np.zeros(20), c).logpdf(y) for c in (np.eye(20), spread)]
    exact = softmax(of_both)
    found = np.asarray(result["indicator_probabilities"]["z"])
    assert np.abs(found - exact).max() < 0.015


def normal_vector(y):
    with pm.Model() as model:
        theta = pm.Normal("theta", 0, 1, shape=3)
        pm.MvNormal("y", theta, np.eye(3), observed=y)
    return model


def test_one_multivariate_observation():
    """Without an axis of units: half of each value is the posterior mean."""
    y = np.array([0.4, -1.0, 2.0])
    posterior = pma.fit(normal_vector(y), training=BRIEF, **OPTIONS)
    for data in (None, {"y": -y}):
        result = posterior.sample(data, random_seed=1)
        mean = np.asarray(result["posterior"]["theta"].mean(("chain", "draw")))
        assert np.abs(mean - (y if data is None else -y) / 2).max() < 0.06
    many = posterior.sample_many({"y": np.stack([y, -y])}, random_seed=1, draws=500)
    means = many["posterior"]["theta"].mean(("chain", "draw")).to_numpy()
    assert np.abs(means - np.stack([y, -y]) / 2).max() < 0.15
    with pytest.raises(ObservationShapeError, match=r"of shape \(3\)"):
        posterior.sample({"y": np.zeros(5)})


def mixture():
    with pm.Model(coords={"unit": range(10)}) as model:
        x = pm.Data("x", np.linspace(-1, 1, 10), dims="unit")
        y = pm.Data("data", np.linspace(-2, 2, 10) ** 2, dims="unit")
        b = pm.Normal("b", [-2, 2], 1, shape=2)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=b * x[:, None], sigma=1, observed=y, dims="unit")
    return model


def test_models_with_frozen_data_are_read():
    """They are the same model as before: the same draws come of the same seed."""
    results = []
    for model in (mixture(), freeze_dims_and_data(mixture())):
        with model:
            results.append(pma.sample(**OPTIONS))
    first, second = (np.asarray(result["posterior"]["b"]) for result in results)
    np.testing.assert_allclose(first, second, rtol=1e-6)
