"""Calibration around observed data."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError, ObservationShapeError

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def test_around_the_observed_data(trained):
    _, posterior = trained("mixture")
    idata = posterior.sample(random_seed=1, draws=100)
    report = posterior.check(50, random_seed=1, draws=200, around=idata)
    assert report.passed
    assert "around the observed one" in repr(report)
    assert report.corrected.num_datasets == 50
    # Data sets are like the observed one: true values spread as its posterior does.
    spread = report.network.recovery["mu"].truth.std(0)
    assert (spread < 2 * np.asarray(idata.posterior["mu"]).std((0, 1))).all()
    with pytest.raises(InvalidArgumentError, match="at least as many draws"):
        posterior.check(1_000, around=idata)


@pytest.mark.parametrize("correction", ["none", "importance", "mcmc"])
def test_there_is_one_correction_around_data(trained, correction):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidArgumentError, match=f'check.correction="{correction}"'):
        posterior.check(50, around=posterior.sample(draws=50), correction=correction)


def test_around_needs_a_network_for_the_size_of_the_model():
    """New data have the model's own size."""
    y = np.linspace(-2, 2, 12)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=y)
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(
        model, sizes={"y": (20, 30)}, training=config, random_seed=1, progressbar=False
    )
    idata = posterior.sample({"y": np.linspace(-2, 2, 25)}, random_seed=1)
    with pytest.raises(ObservationShapeError):
        posterior.check(50, around=idata)
