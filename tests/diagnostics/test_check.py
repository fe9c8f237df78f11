"""Checks of calibration: right answers pass, planted faults are found, and by what they should."""

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError, UnsupportedModelError

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


@pytest.mark.parametrize(
    "name", ["chain", "chain_without_density", "g_and_k", "beta_bernoulli", "sized", "dwelling"]
)
def test_models_of_every_kind(trained, name):
    _, posterior = trained(name)
    report = posterior.check(30, random_seed=2, draws=100)
    has_density = posterior.spec.has_density
    assert (report.corrected is not None) == has_density
    tables = [s.name for s in posterior.spec.indicators]
    tables += [f"{s.name}, filtering" for s in posterior.spec.indicators if s.kind != "independent"]
    # Of indicators that are exact, no network has learned anything.
    assert list(report.delivered.reliability) == tables
    assert list(report.network.reliability) == ([] if has_density else tables)
    assert ("log likelihood" in report.delivered.pit) == has_density
    assert report.passed
    if not has_density:
        with pytest.raises(UnsupportedModelError, match="density"):
            posterior.check(30, around=posterior.sample(draws=50))


def test_too_few_data_sets(trained):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidArgumentError, match="at least 20 data sets"):
        posterior.check(num_datasets=5)
    with pytest.raises(InvalidArgumentError, match="at least 20 data sets"):
        posterior.check(num_datasets=5, around=posterior.sample(draws=50))
    with pytest.raises(InvalidArgumentError, match="correction"):
        posterior.check(correction="perfect")
    report = posterior.check(num_datasets=20, correction="none", draws=50, random_seed=0)
    with pytest.raises(InvalidArgumentError, match="answers to be one of"):
        pma.diagnostics.plot_sbc(report, answers="corrected")
    with pytest.raises(InvalidArgumentError, match="answers to be one of"):
        report.to_arviz("correct")
