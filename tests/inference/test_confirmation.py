"""A second estimate: it finds what a network has missed, and agrees with what is right."""

import dataclasses

import numpy as np
import pymc as pm
import pytest
import torch

from torch import nn

import pymc_amortized as pma

from pymc_amortized.importance.bridge import Bridged, Effort, bridge
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import resample, weigh
from pymc_amortized.inference.correction import particles as particles_module
from pymc_amortized.inference.correction.confirmation import Confirmation, Second
from pymc_amortized.inference.correction.mcmc import McmcRung
from pymc_amortized.inference.correction.smc import SmcRung
from pymc_amortized.inference.correction.weighted_draws import scores_of
from pymc_amortized.inference.draws import McmcDraws
from pymc_amortized.inference.typicality import Coverage
from pymc_amortized.posterior import AmortizedPosterior
from tests.answered import flat
from tests.inference.second_estimates import AT, BRIEF, confirmation_of, straight_lines

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")


class OneMode(pma.AbstractPosteriorNetwork):
    """A normal distribution that knows the larger mode, and never learns of another."""

    centre = (-1.05, 1.05, 0.0, 0.0, -0.35)
    scale = 0.25

    def __init__(self, num_parameters, context_size):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def distribution(self):
        return torch.distributions.Normal(torch.tensor(self.centre), self.scale)

    def log_prob(self, scores, context):
        return self.distribution().log_prob(scores).sum(-1) + 0 * self.unused

    def sample(self, context, num_draws, generator=None):
        shape = (num_draws, len(context), len(self.centre))
        noise = torch.randn(shape, generator=generator)
        return torch.tensor(self.centre) + self.scale * noise


def two_levels(num_units=60):
    """Two regressions: exchanged, the data are as likely, and the prior is smaller."""
    rng = np.random.default_rng(3)
    x = np.linspace(-1, 1, num_units)
    first = rng.random(num_units) < 0.5
    y = np.where(first, -1.2, 1.2) + 0.3 * x + 0.5 * rng.normal(size=num_units)
    with pm.Model() as model:
        a = pm.Normal("a", [-1, 1], 1.6, shape=2)
        b = pm.Normal("b", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        mean = a + pm.Data("x", x)[:, None] * b
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mean, sigma=sigma, observed=y)
    return model


def exchanged(idata):
    a = flat(idata, "a")
    return float((a[:, 0] > a[:, 1]).mean())


@pytest.fixture(scope="module")
def blind():
    """A network that draws around the larger mode alone, wherever that is in its scores."""
    posterior = pma.fit(
        two_levels(),
        networks=pma.Networks(posterior=OneMode),
        training=BRIEF,
        random_seed=1,
        progressbar=False,
        cache=False,
    )
    problem = posterior.inference.problem
    values = {
        "a": torch.tensor([[-1.2, 1.2]]).double(),
        "b": torch.tensor([[0.3, 0.3]]).double(),
        "sigma": torch.tensor([0.5]).double(),
    }
    scores, _ = problem.space.standardize(problem.space.unconstrain(values))
    OneMode.centre = tuple(scores[0].tolist())
    return posterior


@pytest.fixture(scope="module")
def share(blind):
    """The mass of the smaller mode: importance sampling from all that a long bridge found."""
    problem = blind.inference.problem
    frames = problem.read(None).frames
    generator = torch.Generator().manual_seed(5)

    def target(scores):
        return problem.log_target(scores, frames)

    found = bridge(target, 1, 5, Effort(4_000), generator=generator)
    equal = torch.zeros_like(found.points[..., 0])
    mixture = fit_student_mixture(found.points, equal, num_points=4_000, generator=generator)
    points = mixture.sample(40_000, generator)
    weights = weigh(target(points) - mixture.log_prob(points))
    assert float(weights.pareto_k) < 0.6
    a = problem.parameters(points)[1]["a"][:, 0]
    return float(weights.log_weights[:, 0].exp()[a[:, 0] > a[:, 1]].sum())


def sample(posterior, confirm, seed=1):
    rule = pma.AcceptanceRule(confirm=confirm)
    return posterior.sample(draws=1_000, random_seed=seed, acceptance=rule)


def test_a_mode_that_a_network_has_missed_is_found(blind, share):
    """Without a second estimate, what is accepted lacks it, and nothing tells."""
    assert 0.05 < share < 0.3
    alone = sample(blind, "none")
    assert alone.posterior.attrs["checked"] == "accepted"
    assert alone.posterior.attrs["confirmed_by"] == "nothing"
    assert exchanged(alone) == 0.0
    for seed in range(3):
        confirmed = sample(blind, "single", seed)
        attrs = confirmed.posterior.attrs
        assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "bridge")
        # 4,000 draws with an ESS of at least a tenth of that.
        assert abs(exchanged(confirmed) - share) < 4 * np.sqrt(share / 400)
    assert attrs["log_evidence"] - alone.posterior.attrs["log_evidence"] > -np.log1p(-share) / 2
    seconds = [attrs[f"seconds_{rung}"] for rung in ("importance", "adaptive", "confirmation")]
    assert min(seconds) > 0
    # Each second is counted once.
    assert sum(seconds) <= attrs["sampling_time"]


def test_indicators_belong_to_the_draws_that_were_found(blind, share):
    """Averaged over both modes, units are less certain than in either."""
    alone, confirmed = sample(blind, "none"), sample(blind, "single")
    name = "y_component"
    one, both = (np.asarray(x.indicator_probabilities[name]) for x in (alone, confirmed))
    certain = one[:, 0] > 0.99
    expected = one[certain, 0].mean() * (1 - share) + (1 - one[certain, 0].mean()) * share
    assert abs(both[certain, 0].mean() - expected) < 4 * np.sqrt(share / 400)


def test_right_answers_are_confirmed(trained):
    _, posterior = trained("mixture")
    attrs = [posterior.sample(random_seed=s).posterior.attrs for s in range(2)]
    assert [a["checked"] for a in attrs] == ["accepted"] * 2
    assert [a["confirmed_by"] for a in attrs] == ["bridge"] * 2


@pytest.mark.parametrize(
    ("coverage", "shift", "confirm", "word"),
    [
        (Coverage(600, 1), 0.0, "single", "simulations"),
        (Coverage(600, 2), 0.0, "single", "bridge"),
        (Coverage(400, 0), 0.0, "single", "bridge"),
        (Coverage(600, 1), 0.0, "all", "bridge"),
        (Coverage(600, 1), 9.0, "single", "bridge"),
        (Coverage(600, 1), 0.0, "none", "simulations"),
    ],
    ids=["proven", "one more missed", "too few", "asked for", "atypical", "not asked for"],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
def test_a_network_that_misses_next_to_nothing_needs_no_second_estimate(
    trained, coverage, shift, confirm, word
):
    _, posterior = trained("normal_mean")
    looked = dataclasses.replace(posterior.inference, coverage=coverage)
    y = looked.problem.simulator.sample(1, 3).observations["y"][0].numpy() + shift
    found = AmortizedPosterior(looked, posterior.record).sample(
        {"y": y}, acceptance=pma.AcceptanceRule(confirm=confirm), random_seed=1
    )
    attrs = found.posterior.attrs
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", word)
    assert (attrs["seconds_confirmation"] == 0) == (word == "simulations")


def test_weights_of_the_network_that_are_not_accepted_prove_nothing(poor):
    """Though what they are adapted to is: coverage was counted among those that are."""
    looked = dataclasses.replace(poor.inference, coverage=Coverage(600, 0))
    y = looked.problem.simulator.observed_data["y"] + 6
    found = AmortizedPosterior(looked, poor.record).sample({"y": y}, random_seed=1)
    assert found.posterior.attrs["rung"] != "importance"
    assert found.posterior.attrs["confirmed_by"] == "bridge"


def test_many_data_sets_are_confirmed_where_that_is_asked_for(trained):
    _, posterior = trained("normal_mean")
    y = posterior.inference.problem.simulator.observed_data["y"]
    sets = [{"y": y}, {"y": y + 0.5}]
    options = {"random_seed": 1, "progressbar": False, "draws": 200}
    found = posterior.sample_many(sets, **options)
    assert set(found["answers"]["confirmed_by"].values) <= {"nothing", "simulations"}
    assert (found["answers"]["seconds_confirmation"] == 0).all()
    rule = pma.AcceptanceRule(confirm="all")
    confirmed = posterior.sample_many(sets, acceptance=rule, **options)
    assert confirmed["answers"]["confirmed_by"].values.tolist() == ["bridge"] * 2
    assert confirmed["answers"]["checked"].values.tolist() == ["accepted"] * 2


@pytest.mark.parametrize("wrong", ["every", True, None])
def test_what_is_no_kind_of_confirmation(wrong):
    with pytest.raises(pma.errors.InvalidArgumentError, match="confirm to be one of"):
        pma.AcceptanceRule(confirm=wrong)


class KnownSecond(Confirmation):
    """Particles that are given, from which no estimate can be made."""

    def __init__(self, weighted, particles, memory):
        super().__init__(weighted)
        arrived, unknown = torch.ones(1), torch.zeros(1)
        bridged = Bridged(particles, unknown, arrived, torch.full((1,), memory), 1)
        self.known = Second(None, bridged)

    def second(self, at):
        return self.known


def test_particles_that_cannot_be_weighed_still_know_where_modes_are(blind, share):
    """The answer that lacks one is mended; where they know no other, nothing is said against it."""
    confirmation = confirmation_of(blind)
    weighted, second = confirmation.weighted, confirmation.second(AT)
    [(_, pool, weights)] = weighted.adapt(AT, weighted.from_network(AT, 4_000))
    assert bool(weighted.accepted(weights))

    def mass(pool, weights):
        scores, _ = scores_of(pool.images)
        a = weighted.inference.problem.parameters(scores)[1]["a"][:, 0]
        return float(weights.log_weights[:, 0].exp()[a[:, 0] > a[:, 1]].sum())

    a = weighted.inference.problem.parameters(second.bridged.points)[1]["a"][:, 0]
    smaller = a[:, 0] > a[:, 1]
    assert bool(smaller.any())
    assert mass(pool, weights) == 0.0
    every = KnownSecond(weighted, second.bridged.points, 0.9)
    found, of_found, word = every.settle(AT, pool, weights)
    assert word == "search"
    assert abs(mass(found, of_found) - share) < 0.05
    blind_too = KnownSecond(weighted, second.bridged.points[~smaller], 0.9)
    found, _, word = blind_too.settle(AT, pool, weights)
    assert (found is pool, word) == (True, "search")
    # Particles that never moved have searched nothing.
    stuck = KnownSecond(weighted, second.bridged.points, 0.99)
    found, _, word = stuck.settle(AT, pool, weights)
    assert (found is pool, word) == (True, "nothing")


def mcmc_of(vector):
    """Chains (4, draws, D) with diagnostics of independent draws."""
    return McmcDraws(vector, torch.zeros(vector.shape[:2]).bool(), 1.0, 1_000.0, "pymc", 0.0)


def test_masses_of_mcmc_chains_are_compared(blind):
    """Chains that are all in the larger mode agree with each other, and with nothing else."""
    confirmation = confirmation_of(blind)
    space, second = blind.inference.problem.space, confirmation.second(AT)
    assert second.estimate is not None
    draws = second.estimate.draw(4_000, torch.Generator().manual_seed(2))[:, 0]
    vector, _ = space.unstandardize(draws)
    assert confirmation.judge_mcmc(AT, mcmc_of(vector.unflatten(0, (4, -1)))) == "bridge"
    a = space.constrain(vector)["a"]
    larger = vector[a[:, 0] < a[:, 1]][:2_000]
    assert confirmation.judge_mcmc(AT, mcmc_of(larger.unflatten(0, (4, -1)))) == "neither"
    for memory, word in ((0.9, "mcmc"), (0.99, "nothing")):
        unusable = KnownSecond(confirmation.weighted, second.bridged.points, memory)
        assert unusable.judge_mcmc(AT, mcmc_of(larger.unflatten(0, (4, -1)))) == word


def independent(self, at, pool, weights, *_):
    """Draws as chains (4, 1,000, D) would be that mix at once."""
    picked = pool.points[resample(weights.log_weights[:, 0], 4_000, self.generator)]
    scores, _ = self.inference.proposals.to_scores(picked, self.weighing.context[at])
    vector, _ = self.inference.problem.space.unstandardize(scores[:, 0])
    return mcmc_of(vector.unflatten(0, (4, -1)))


def test_what_nothing_confirms_is_not_accepted(trained, monkeypatch):
    """Neither a bridge nor chains: the answer is the same, and it is said what is not known."""
    _, posterior = trained("mixture")
    monkeypatch.setattr(Confirmation, "settle", lambda self, at, *found: (*found, "nothing"))
    monkeypatch.setattr(SmcRung, "draw", lambda self, at: None)
    monkeypatch.setattr(Confirmation, "judge_mcmc", lambda self, at, mcmc: "nothing")
    monkeypatch.setattr(McmcRung, "draw", independent)
    with pytest.warns(pma.errors.AccuracyWarning, match="Nothing confirms this answer"):
        attrs = posterior.sample(random_seed=1).posterior.attrs
    assert (attrs["rung"], attrs["checked"]) == ("mcmc", "rejected")
    monkeypatch.setattr(Confirmation, "judge_mcmc", lambda self, at, mcmc: "mcmc")
    attrs = posterior.sample(random_seed=1).posterior.attrs
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "mcmc")


def test_importance_sampling_from_chains_confirms_that_from_the_network(trained, monkeypatch):
    """Chains that do not mix know where modes are: what is weighed around them is an answer."""
    _, posterior = trained("mixture")
    monkeypatch.setattr(Confirmation, "settle", lambda self, at, *found: (*found, "nothing"))
    monkeypatch.setattr(SmcRung, "draw", lambda self, at: None)
    monkeypatch.setattr(McmcRung, "draw", independent)
    monkeypatch.setattr(pma.AcceptanceRule, "accepts_mcmc", lambda self, mcmc: False)
    attrs = posterior.sample(random_seed=1).posterior.attrs
    assert (attrs["rung"], attrs["checked"]) == ("adaptive", "accepted")
    assert attrs["confirmed_by"] == "mcmc"
    assert attrs["seconds_mcmc"] > 0
    monkeypatch.setattr(Confirmation, "agrees", lambda self, at, one, two: False)
    with pytest.warns(pma.errors.AccuracyWarning, match="Nothing confirms this answer"):
        attrs = posterior.sample(random_seed=1).posterior.attrs
    assert (attrs["checked"], attrs["confirmed_by"]) == ("rejected", "nothing")


def test_a_second_estimate_in_many_dimensions():
    """By gradients, and nothing but the prior to begin at."""
    model, mean, sd, log_evidence = straight_lines()
    options = {"training": BRIEF, "random_seed": 1, "progressbar": False, "cache": False}
    posterior = pma.fit(model, **options)
    second = confirmation_of(posterior).second(AT)
    assert second.estimate is not None
    assert abs(float(second.estimate.log_evidence) - log_evidence) < 0.2
    idata = posterior.sample(random_seed=1)
    attrs, b = idata.posterior.attrs, flat(idata, "b")
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "bridge")
    # Draws are worth 400 at least.
    assert bool((np.abs(b.mean(0) - mean) < 4.5 * sd / np.sqrt(400)).all())


def test_where_a_bridge_would_take_minutes_there_is_none(trained, monkeypatch):
    _, posterior = trained("mixture")
    monkeypatch.setattr(particles_module, "_MAX_NUMBERS", 1e6)
    assert not confirmation_of(posterior).particles.is_possible
    attrs = posterior.sample(random_seed=1).posterior.attrs
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "nothing")
    assert attrs["seconds_confirmation"] == 0.0
