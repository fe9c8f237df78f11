"""Particles as an answer: two populations that agree, and each way in which they may not."""

import warnings

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.importance.weights import Weights
from pymc_amortized.inference.correction.ladder import _Climb
from pymc_amortized.inference.correction.particles import Particles
from pymc_amortized.inference.correction.smc import SmcRung
from tests.answered import flat
from tests.inference.second_estimates import AT, BRIEF, confirmation_of, straight_lines

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")


@pytest.fixture(scope="module")
def lines():
    model, *known = straight_lines()
    posterior = pma.fit(model, training=BRIEF, random_seed=1, progressbar=False, cache=False)
    return posterior, known


@pytest.fixture(scope="module")
def rung(lines):
    confirmation = confirmation_of(lines[0])
    confirmation.second(AT)
    return SmcRung(confirmation)


@pytest.fixture(scope="module")
def other(rung):
    """Particles of another bridge, to be sent as they are or changed."""
    return rung.particles.send(AT)


def populations(rung, monkeypatch, sent):
    monkeypatch.setattr(rung.particles, "send", lambda at: sent)
    return SmcRung(rung.confirmation).draw(AT)


def test_they_are_the_posterior(lines, rung, other, monkeypatch):
    """Means, standard deviations and evidence, against the normal posterior."""
    _, (mean, sd, log_evidence) = lines
    found = populations(rung, monkeypatch, other)
    assert found.agree
    assert abs(float(found.log_evidence) - log_evidence) < 4.5 * float(found.error) + 0.02
    assert float(found.error) < 0.1
    vector = found.mcmc.vector.flatten(0, 1).numpy()
    assert found.mcmc.sampler == "smc"
    assert 400 < found.mcmc.ess <= len(vector)
    assert bool((np.abs(vector.mean(0) - mean) < 4.5 * sd / np.sqrt(found.mcmc.ess)).all())
    error_of_sd = sd / np.sqrt(2 * found.mcmc.ess)
    assert bool((np.abs(vector.std(0) - sd) < 4.5 * error_of_sd).all())


def test_a_population_that_is_elsewhere_is_seen(lines, rung, other, monkeypatch):
    """By a third of a standard deviation in one of thirteen coordinates."""
    points = other.points.clone()
    points[..., 4] += 0.35 * points[..., 4].std()
    found = populations(rung, monkeypatch, replace(other, points=points))
    assert not found.agree
    assert found.mcmc.rhat > 1.01


def lacking(bridged, share):
    """Particles without the upper part of one coordinate, as many as before."""
    points = bridged.points[:, 0]
    kept = points[points[:, 7] < points[:, 7].quantile(1 - share)]
    again = torch.arange(len(points)) % len(kept)
    return replace(bridged, points=kept[again].unsqueeze(1))


def test_a_population_that_lacks_a_part_is_seen(rung, other, monkeypatch):
    """Though where it is it is right: the upper tenth of one coordinate, a fifth of an sd."""
    assert not populations(rung, monkeypatch, lacking(other, 0.1)).agree


@pytest.mark.parametrize("what", ["memory", "power"])
def test_particles_that_remember_or_never_arrived_are_no_draws(rung, other, monkeypatch, what):
    value = {"memory": 0.9, "power": 0.9}[what]
    assert populations(rung, monkeypatch, replace(other, **{what: torch.tensor([value])})) is None


def test_particles_are_preferred_to_few_heavy_weights_alone(rung):
    def gains(pareto_k, ess, num_draws=10):
        known = torch.tensor([pareto_k]), torch.tensor([ess])
        return rung.gains_on(AT, Weights(torch.zeros(num_draws, 1), *known))

    assert gains(0.65, 600.0)
    assert not gains(0.45, 600.0)
    assert not gains(0.65, 50_000.0)
    # Light tails, and many draws, of which hardly any count.
    assert gains(0.45, 30_000.0, 1_000_000)
    assert not gains(0.45, 200_000.0, 1_000_000)


@pytest.mark.parametrize("asked", ["auto", "smc"])
def test_an_answer_by_particles(lines, monkeypatch, asked):
    """Its attributes, draws and densities, where it is better than weights, or asked for."""
    posterior, (mean, sd, log_evidence) = lines
    monkeypatch.setattr(SmcRung, "gains_on", lambda self, at, weights: True)
    idata = posterior.sample(random_seed=1, correction=asked)
    attrs, b = idata.posterior.attrs, flat(idata, "b")
    assert (attrs["rung"], attrs["checked"], attrs["confirmed_by"]) == ("smc", "accepted", "bridge")
    assert attrs["rhat"] <= 1.01
    assert attrs["seconds_smc"] > 0
    assert attrs["seconds_mcmc"] == 0
    assert abs(attrs["log_evidence"] - log_evidence) < 4.5 * attrs["log_evidence_error"] + 0.02
    worth = min(len(b), attrs["ess_bulk"])
    assert bool((np.abs(b.mean(0) - mean) < 4.5 * sd / np.sqrt(worth)).all())
    # Chains are of one population each, so that ArviZ compares them.
    assert idata.posterior.sizes["chain"] % 2 == 0
    assert np.isfinite(idata.sample_stats["lp"]).all()


def test_populations_that_disagree_are_not_accepted(lines, other, monkeypatch):
    """What was asked for is returned, with a warning that says what is wrong."""
    posterior, _ = lines
    elsewhere = replace(other, points=other.points + 0.2)
    sent = iter([other, elsewhere])
    monkeypatch.setattr(Particles, "send", lambda self, at: next(sent))
    with pytest.warns(pma.errors.AccuracyWarning, match="Two populations of particles"):
        attrs = posterior.sample(random_seed=1, correction="smc").posterior.attrs
    assert (attrs["rung"], attrs["checked"], attrs["confirmed_by"]) == (
        "smc",
        "rejected",
        "neither",
    )


def test_doubted_weights_are_no_answer_where_populations_disagree(lines, other, monkeypatch):
    """The climb goes on, here to nowhere; where the two agree, it does not."""
    posterior, _ = lines
    elsewhere = replace(other, points=other.points + 0.2)
    climbed = []

    def give_up(climb, at, pool, weights):
        climbed.append(int(at))
        climb.finish.from_weighted(at, pool, weights, "adaptive", "neither")

    monkeypatch.setattr(SmcRung, "gains_on", lambda self, at, weights: True)
    monkeypatch.setattr(_Climb, "_sample", give_up)
    for sent, goes_on in (([other, other], []), ([other, elsewhere], [0])):
        bridges = iter(sent)
        monkeypatch.setattr(Particles, "send", lambda self, at, b=bridges: next(b))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pma.errors.AccuracyWarning)
            attrs = posterior.sample(random_seed=1).posterior.attrs
        assert climbed == goes_on
        assert (attrs["checked"] == "accepted") == (not goes_on)


def test_particles_that_did_not_arrive_answer_nothing(lines, other, monkeypatch):
    posterior, _ = lines
    left = replace(other, power=torch.tensor([0.5]))
    monkeypatch.setattr(Particles, "send", lambda self, at: left)
    with pytest.warns(pma.errors.AccuracyWarning, match="Nothing confirms this answer|weights"):
        attrs = posterior.sample(random_seed=1, correction="smc").posterior.attrs
    assert (attrs["rung"], attrs["checked"]) == ("importance", "rejected")


def test_where_there_are_fewer_particles_than_draws_none_is_twice(lines, monkeypatch):
    """Each is moved on from: still draws of the normal posterior, and all of them different."""
    posterior, (mean, sd, _) = lines
    original = Particles.send

    def few(self, at):
        found = original(self, at)
        return replace(found, points=found.points[:1_500])

    monkeypatch.setattr(Particles, "send", few)
    idata = posterior.sample(draws=4_000, random_seed=1, correction="smc")
    attrs, b = idata.posterior.attrs, flat(idata, "b")
    assert attrs["rung"] == "smc"
    assert len(np.unique(b[:, 0])) > 0.98 * len(b)
    worth = min(len(b), attrs["ess_bulk"])
    assert bool((np.abs(b.mean(0) - mean) < 4.5 * sd / np.sqrt(worth)).all())
    assert bool((np.abs(b.std(0) - sd) < 4.5 * sd / np.sqrt(2 * worth)).all())


def test_without_parameters_there_are_no_particles():
    """Weights are all that there is, and they are exact."""
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3, shape=20)
        pm.Normal("y", 2.0 * z, 1.0, observed=np.linspace(-1, 3, 20))
    posterior = pma.fit(model, training=BRIEF, random_seed=1, progressbar=False, cache=False)
    idata = posterior.sample(draws=50, random_seed=1, correction="smc", progressbar=False)
    assert idata.posterior.attrs["checked"] == "accepted"
