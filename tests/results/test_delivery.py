"""From a question to a result, by networks with random weights: exact densities mend them."""

import functools
import io
import itertools
import math
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
import rich

from rich.console import Console
from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError, UnsupportedModelError
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import assemble
from pymc_amortized.inference.problem import Problem
from pymc_amortized.messages import PeriodicLog
from pymc_amortized.results.delivery import Delivery
from pymc_amortized.training import progress
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.version import package_versions
from tests.trained import explicit, normal_mean

pytestmark = pytest.mark.usefixtures("interpreted")
Y = np.array([-0.7, 2.2, 0.9, 1.1])
TRANSITION = np.array([[0.9, 0.1], [0.4, 0.6]])
FIRST = np.array([0.7, 0.3])


def known_mixture():
    """Nothing is to be learned but indicators: p(z = 1) = 0.3, y ~ N(2 z, 1)."""
    with pm.Model(coords={"unit": list("abcd")}) as model:
        z = pm.Bernoulli("z", 0.3, dims="unit")
        pm.Normal("y", 2.0 * z, 1, observed=Y, dims="unit")
    return model


def known_chain():
    with pm.Model() as model:
        first = pm.Categorical.dist(FIRST)
        z = pmx.DiscreteMarkovChain("z", P=TRANSITION, init_dist=first, shape=(4,))
        pm.Normal("y", 2.0 * z, 1, observed=Y)
    return model


def drawn_only():
    """Observations that can be drawn, and nothing else."""

    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 1, size=size)

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.CustomDist("y", mu, random=draw, observed=Y)
    return model


MODELS = {
    "mean": lambda: normal_mean(Y),
    "mixture": known_mixture,
    "chain": known_chain,
    "explicit": lambda: explicit(Y),
    "drawn only": drawn_only,
}


@functools.lru_cache
def delivery(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pma.errors.BackendFallbackWarning)
        simulator = pma.compile_simulator(MODELS[name](), device="cpu")
    layout, estimator = assemble(simulator, None, None, 0)
    space = simulator.parameters
    if space.size:
        space = space.with_normal_scores(simulator.sample_parameters(2_000, 0))
    problem = Problem.of_model(simulator, layout, space)
    estimator.fit_scaling(problem.source.draw(500, 0))
    record = TrainingRecord(
        fingerprint="none",
        parts={},
        versions=package_versions(),
        sizes={},
        config=pma.TrainingConfig(),
        steps=0,
        skipped=0,
        seconds=0.0,
        interrupted=False,
        validation_loss=math.nan,
        accepted_share=math.nan,
        history=(),
    )
    return Delivery(Amortized.of_networks(problem, estimator.eval()), record)


def paths_with_probabilities():
    """All paths of four states of the chain, given the data, by enumeration."""
    paths = np.array(list(itertools.product(range(2), repeat=4)))
    p = FIRST[paths[:, 0]] * TRANSITION[paths[:, :-1], paths[:, 1:]].prod(1)
    return paths, p[:, None] * stats.norm(2.0 * paths, 1).pdf(Y).cumprod(1)


def test_what_is_asked_is_counted_over_chains_and_is_what_is_needed():
    wanted = delivery("explicit").ask(250, 4, "auto", var_names=["p"])
    assert (wanted.num_draws, wanted.chains) == (1_000, 4)
    assert wanted.rule == AcceptanceRule()
    assert wanted.indicators == frozenset()
    # The mean of each unit depends on its indicator.
    assert delivery("explicit").ask(1, 1, "auto", var_names=["mean"]).indicators == {"z"}
    assert delivery("explicit").ask(1, 1, "auto").indicators == {"z"}


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mean", {"draws": 0}, InvalidArgumentError, "draws to be at least 1; got 0"),
        ("mean", {"chains": 1.5}, InvalidArgumentError, "chains to be at least 1; got 1.5"),
        ("mean", {"correction": "all"}, InvalidArgumentError, "'mcmc'.*; got 'all'"),
        ("mean", {"var_names": ["nu"]}, InvalidArgumentError, r"among \['mu'\]; got \['nu'\]"),
        ("mean", {"labels": "any"}, InvalidArgumentError, "'symmetric'.* got 'any'"),
        ("drawn only", {"correction": "mcmc"}, UnsupportedModelError, 'correction="none"'),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_what_cannot_be_had_is_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        delivery(name).ask(**{"draws": 10, "chains": 1, "correction": "auto", **options})


def test_one_answer_is_the_conjugate_posterior_with_the_densities_asked_for():
    """A network that knows nothing proposes, the model's density corrects."""
    deliver = delivery("mean")
    wanted = deliver.ask(500, 4, "auto")
    asked = {"log_likelihood": True, "log_prior": True}
    idata = deliver.one(None, wanted, 1, None, asked)
    mu = np.asarray(idata.posterior["mu"])
    variance = 1 / (1 / 4 + len(Y))
    exact = stats.norm(variance * Y.sum(), math.sqrt(variance))
    assert mu.shape == (4, 500)
    assert idata.posterior.attrs["checked"] == "accepted"
    # Draws are worth 400 independent ones at the least.
    assert stats.kstest(mu.ravel()[::5], exact.cdf).pvalue > 0.001
    by_unit = stats.norm(mu[..., None], 1).logpdf(Y)
    log_prior = stats.norm(0, 2).logpdf(mu)
    assert np.allclose(idata["log_likelihood"]["y"], by_unit)
    assert np.allclose(idata["log_prior"]["mu"], log_prior)
    assert np.allclose(idata.sample_stats["lp"], by_unit.sum(-1) + log_prior)
    evidence = stats.multivariate_normal(np.zeros(4), np.eye(4) + 4).logpdf(Y)
    assert idata.posterior.attrs["log_evidence"] == pytest.approx(evidence, abs=0.1)


def test_groups_that_are_not_asked_for_are_left_out():
    deliver = delivery("mean")
    idata = deliver.one(None, deliver.ask(10, 1, "importance"), 1, None, {"log_prior": False})
    for group in ("log_prior", "log_likelihood", "indicator_probabilities"):
        assert group not in idata


def test_of_many_data_sets_one_that_is_bad_leaves_the_others_answered():
    deliver = delivery("mean")
    datasets = [{"y": Y}, {"y": np.full(4, np.inf)}, {"y": Y + 1}]
    with pytest.warns(AccuracyWarning, match="1 of 3 data sets could not be answered"):
        idata = deliver.many(datasets, deliver.ask(400, 1, "auto"), 1, None, show=False)
    mean = np.asarray(idata.posterior["mu"])[0].mean(0)
    variance = 1 / (1 / 4 + len(Y))
    expected = variance * np.array([Y.sum(), np.nan, (Y + 1).sum()])
    assert np.allclose(mean, expected, atol=4 * math.sqrt(variance / 100), equal_nan=True)
    assert pma.answers_table(idata)["checked"].tolist() == ["accepted", "failed", "accepted"]


def test_probabilities_are_by_bayes_rule():
    joint = np.stack([0.7 * stats.norm(0, 1).pdf(Y), 0.3 * stats.norm(2, 1).pdf(Y)], axis=-1)
    found = delivery("mixture").probabilities(None, "auto", 1)
    assert found["z"].dims == ("unit", "component")
    assert found["unit"].values.tolist() == ["a", "b", "c", "d"]
    assert np.allclose(found["z"], joint / joint.sum(-1, keepdims=True))


def test_states_are_those_of_all_paths():
    paths, joint = paths_with_probabilities()
    deliver = delivery("chain")

    def states(kind, draws=1):
        return deliver.states(None, kind, draws, "auto", 1)["z"]

    p = joint[:, -1] / joint[:, -1].sum()
    smoothing = [p[paths[:, t] == 1].sum() for t in range(4)]
    filtering = [joint[paths[:, t] == 1, t].sum() / joint[:, t].sum() for t in range(4)]
    assert np.allclose(states("smoothing")[:, 1], smoothing)
    assert np.allclose(states("filtering")[:, 1], filtering)
    assert np.array_equal(states("viterbi"), paths[p.argmax()])
    drawn = states("paths", 4_000).values[0]
    share = np.bincount(drawn @ [8, 4, 2, 1], minlength=16) / 4_000
    assert np.abs(share - p).max() < 4.5 * 0.5 / math.sqrt(4_000)
    assert stats.chisquare(4_000 * share, 4_000 * p).pvalue > 0.001


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: d.probabilities(None, "auto", 1), r"parameters only(.|\n)*sample\(\)"),
        (lambda d: d.states(None, "smoothing", 1, "auto", 1), "with a Markov chain; .* none"),
    ],
    ids=["probabilities", "states"],
)
def test_a_model_without_indicators_has_neither_probabilities_nor_states(ask, message):
    with pytest.raises(UnsupportedModelError, match=message):
        ask(delivery("mean"))


def test_without_a_terminal_the_log_says_where_long_work_stands(monkeypatch, caplog):
    """Here, whenever there is something to say."""
    console = Console(file=io.StringIO(), force_terminal=False)
    monkeypatch.setattr(rich, "_console", console)
    monkeypatch.setattr(progress, "PeriodicLog", functools.partial(PeriodicLog, 0.0))
    caplog.set_level("INFO", logger="pymc_amortized")
    deliver = delivery("mean")
    wanted = deliver.ask(100, 1, "auto")

    def logged(call):
        caplog.clear()
        call()
        return [x for x in map(str, caplog.messages) if x.startswith("Not done after ")]

    def many(show):
        deliver.many({"y": np.tile(Y, (20, 1))}, wanted, 1, None, show=show)

    of_one = logged(lambda: deliver.one(None, wanted, 1, None, None, show=True))
    of_many = logged(lambda: many(True))
    assert of_one[0] == "Not done after 0 s: importance sampling."
    assert any("a second estimate from the prior" in line for line in of_one)
    assert of_many[0] == "Not done after 0 s: 0 of 20 data sets answered."
    assert "0 of 20 data sets answered, now importance sampling" in of_many[2]
    assert any("16 of 20 data sets answered; about" in line for line in of_many)
    assert of_many[-1] == "Not done after 0 s: 20 of 20 data sets answered."
    assert logged(lambda: deliver.one(None, wanted, 1, None, None, show=False)) == []
    assert logged(lambda: many(False)) == []
    assert console.file.getvalue() == ""
