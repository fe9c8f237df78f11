"""Answers by a density that was learned: beside those by the exact one of the same model."""

import copy
import math

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import (
    InvalidArgumentError,
    InvalidDataError,
    UnsupportedModelError,
)
from pymc_amortized.fitting.likelihood.learning import with_likelihood
from tests.answered import flat
from tests.trained import data

LEARNED = pma.Networks(likelihood=True)
SHORT = pma.TrainingConfig(steps=100, tolerance=None)


def _normal(mean, spread, rng=None, size=None):
    return rng.normal(mean, spread, size=size)


def two_groups(y, *, known):
    """Normal values around two means; with a density, or with draws alone."""
    with pm.Model() as model:
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", [-2, 2], 1, shape=2)
        components = [
            pm.Normal.dist(mu[k], 1.0) if known else pm.CustomDist.dist(mu[k], 1.0, random=_normal)
            for k in range(2)
        ]
        pm.Mixture("y", w=pm.math.stack([w, 1 - w]), comp_dists=components, observed=y)
    return model


def fit(model, training=SHORT, **options):
    options = {"random_seed": 1, "progressbar": False, "cache": False, **options}
    return pma.fit(model, training=training, **options)


def answer(posterior, **options):
    return posterior.sample(random_seed=1, progressbar=False, **options)


def shifted(posterior):
    """Return a posterior whose learned densities lie half a unit off."""
    networks = copy.deepcopy(posterior.inference.problem.simulator.likelihood_networks)
    for network in networks.values():
        network.value_scales[:, 1] += 0.5
    return with_likelihood(posterior, networks)


@pytest.fixture(scope="module")
def learned():
    config = pma.TrainingConfig(simulations=2_000, steps=100, tolerance=None)
    return fit(two_groups(data(), known=False), config, networks=LEARNED)


@pytest.fixture(scope="module")
def exact():
    return fit(two_groups(data(), known=True), "none")


def test_answers_are_those_of_the_exact_density(learned, exact):
    """Hardly trained, and right: planted, with a density that is shifted they are not."""
    by_learned, by_exact = answer(learned), answer(exact)
    assert by_learned.posterior.attrs["checked"] == "learned"
    assert by_exact.posterior.attrs["checked"] == "accepted"
    alone, off = answer(learned, correction="none"), answer(shifted(learned))
    assert alone.posterior.attrs["checked"] == "no"
    for name in ("w", "mu"):
        a, b, c = (flat(x, name) for x in (by_learned, by_exact, off))
        spread = b.std(0)
        # Densities within some hundredths of a nat, of 40 units: a fifth of a standard deviation.
        assert (np.abs(a.mean(0) - b.mean(0)) < 0.25 * spread).all()
        assert (np.abs(np.log(a.std(0) / spread)) < 0.15).all()
    assert (np.abs(c.mean(0) - b.mean(0)) > 0.5 * spread).any()
    evidence = [x.posterior.attrs["log_evidence"] for x in (by_learned, by_exact)]
    assert abs(evidence[0] - evidence[1]) < 1.0
    shares = [np.asarray(x.indicator_probabilities["y_component"]) for x in (by_learned, by_exact)]
    assert np.abs(shares[0] - shares[1]).max() < 0.1
    assert np.abs(shares[0] - shares[1]).mean() < 0.02


def test_simulations_are_the_budget_alone(learned):
    # But for those few that tell whether components are exchangeable.
    assert 2_000 <= learned.record.simulations <= 2_010
    assert learned.inference.problem.spec.learned == ("y",)


def test_a_file_holds_what_was_learned(learned, tmp_path):
    learned.save(tmp_path / "learned.amortized")
    again = pma.load(tmp_path / "learned.amortized", two_groups(data(), known=False))
    first, second = answer(learned), answer(again)
    assert second.posterior.attrs["checked"] == "learned"
    assert np.array_equal(flat(first, "mu"), flat(second, "mu"))
    assert "learned" in repr(again)


def test_the_cache_holds_what_was_learned(tmp_path):
    model = two_groups(data(), known=False)
    options = {"networks": LEARNED, "cache": tmp_path}
    first, second = fit(model, **options), fit(model, **options)
    assert second.record.seconds == first.record.seconds
    assert answer(second).posterior.attrs["checked"] == "learned"
    plain = fit(model, cache=tmp_path)
    assert plain.inference.problem.exact is None


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
def test_many_data_sets_and_chains_of_mcmc(learned, exact):
    ys = learned.inference.problem.simulator.sample(3, 5).observations["y"].numpy()
    found = learned.sample_many({"y": ys}, random_seed=1, progressbar=False)
    assert (found.answers["checked"] == "learned").all()
    mcmc, by_exact = answer(learned, correction="mcmc"), answer(exact)
    assert (mcmc.posterior.attrs["rung"], mcmc.posterior.attrs["checked"]) == ("mcmc", "learned")
    a, b = flat(mcmc, "mu"), flat(by_exact, "mu")
    assert (np.abs(a.mean(0) - b.mean(0)) < 0.3 * b.std(0)).all()


def test_exchangeable_components():
    """In one order to weights and chains, whose density is that of the model as it is written."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3, shape=2)
        component = pm.CustomDist.dist(mu, 0.5, random=_normal, shape=(2,))
        pm.Mixture("y", w=[0.5, 0.5], comp_dists=component, observed=data())
    posterior = fit(model, networks=LEARNED)
    assert posterior.inference.problem.labelling.orders
    first, second = answer(posterior), answer(posterior, correction="mcmc")
    assert second.posterior.attrs["checked"] == "learned"
    a, b = flat(first, "mu"), flat(second, "mu")
    assert (np.abs(a.mean(0) - b.mean(0)) < 4.5 * b.std(0) * math.sqrt(2 / 400)).all()


def test_calibration(learned):
    """Ranks of true values are uniform for answers by what was learned."""
    report = learned.check(100, random_seed=1, draws=200, progressbar=False)
    assert "corrected answers: pass" in str(report)


def test_it_is_refused_where_it_cannot_be():
    with pytest.raises(UnsupportedModelError, match="better than any that could be learned"):
        fit(two_groups(data(), known=True), networks=LEARNED)
    with pytest.raises(InvalidArgumentError, match="a likelihood network, which is learned from"):
        fit(two_groups(data(), known=False), networks=LEARNED, data={"y": data()}, rounds=2)
    with pytest.raises(InvalidArgumentError, match="Expected likelihood to be"):
        pma.Networks(likelihood="yes")


def test_values_that_come_again_have_no_density():
    def rounded(mean, rng=None, size=None):
        return np.round(rng.normal(mean, 1, size=size))

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.CustomDist("y", mu, random=rounded, observed=np.zeros(20))
    config, steps = pma.TrainingConfig(simulations=200, steps=20, tolerance=None), []
    with pytest.raises(UnsupportedModelError, match="none of which come again"):
        fit(model, config, networks=LEARNED, callback=lambda step, _: steps.append(step))
    assert not steps  # before the posterior network is trained


def test_too_few_draws_are_refused():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.CustomDist("y", mu, 1.0, random=_normal, observed=np.zeros(2))
    config = pma.TrainingConfig(simulations=200, steps=20, tolerance=None)
    with pytest.raises(InvalidDataError, match="at least 500 draws of 'y'"):
        fit(model, config, networks=LEARNED)


def test_a_chain_of_which_emissions_are_learned(trained):
    """Filtering and smoothing by the learned emissions of a chain."""
    model, _ = trained("chain_without_density")
    exact_model, _ = trained("chain")
    posterior = fit(model, networks=LEARNED)
    found, exact = answer(posterior), answer(fit(exact_model, "none"))
    assert found.posterior.attrs["checked"] == "learned"
    for name in ("mu", "stay"):
        a, b = flat(found, name), flat(exact, name)
        assert abs(a.mean() - b.mean()) < 0.25 * b.std()
        assert abs(math.log(a.std() / b.std())) < 0.15
    a, b = (np.asarray(x.indicator_probabilities["smoothing"]) for x in (found, exact))
    assert np.abs(a - b).max() < 0.1
