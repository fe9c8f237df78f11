"""The rule by which answers are accepted: one place for thresholds, which users may set."""

import math
import types

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError
from pymc_amortized.importance.acceptance import AcceptanceRule, acceptance_rule
from pymc_amortized.importance.weights import Weights, weigh

RULE = pma.AcceptanceRule()


def weights(pareto_k, ess, num_draws=4_000):
    log_weights = torch.zeros(num_draws, len(pareto_k)) - math.log(num_draws)
    return Weights(log_weights, torch.tensor(pareto_k), torch.tensor(ess))


def chains(rhat=1.0, ess=1_000.0, share=0.0, draws=1_000):
    diverging = torch.arange(4 * draws).reshape(4, draws) < share * 4 * draws
    return types.SimpleNamespace(rhat=rhat, ess=ess, diverging=diverging)


def test_weights_are_accepted_by_their_tail_and_their_ess():
    found = RULE.accepts(weights([0.69, 0.71, 0.2, 2.0], [401.0, 2_000.0, 399.0, 3_700.0]))
    # The last weights hardly differ: there is nothing in their tail.
    assert found.tolist() == [True, False, False, True]
    strict = pma.AcceptanceRule(pareto_k=0.5, ess=1_000)
    assert strict.accepts(weights([0.49, 0.51, 0.4], [1_001.0, 2_000.0, 999.0])).tolist() == [
        True,
        False,
        False,
    ]


def test_an_answer_of_few_draws_needs_not_be_worth_more():
    assert RULE.for_draws(100).ess == 100
    assert RULE.for_draws(10_000) == RULE
    assert bool(RULE.for_draws(100).accepts(weights([0.3], [120.0])))
    # MCMC chains are judged by themselves, not by how many of their draws are kept.
    assert not RULE.accepts_mcmc(chains(ess=120.0))


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        ({}, True),
        ({"rhat": 1.011}, False),
        ({"rhat": math.nan}, False),
        ({"ess": 399.0}, False),
        ({"ess": 399.0, "draws": 150}, True),
        ({"share": 0.009}, True),
        ({"share": 0.02}, False),
    ],
)
def test_chains_are_accepted_by_rhat_ess_and_divergences(found, accepted):
    assert RULE.accepts_mcmc(chains(**found)) is accepted
    assert pma.AcceptanceRule(rhat=1.5, ess=10, divergences=0.5).accepts_mcmc(
        chains(rhat=1.2, ess=20.0, share=0.4)
    )


@pytest.mark.parametrize(
    ("found", "worth_it"),
    [
        ({"rhat": 1.02, "ess": 200.0}, True),
        ({"rhat": 1.05, "ess": 110.0}, True),
        ({"rhat": 1.05, "ess": 90.0}, False),
        ({"rhat": 1.3, "ess": 200.0}, False),
        ({"rhat": math.nan, "ess": 200.0}, False),
    ],
)
def test_longer_chains_are_run_where_they_may_be_accepted(found, worth_it):
    assert RULE.may_accept_longer(chains(**found), 4) is worth_it


@pytest.mark.parametrize(
    "wrong",
    [
        {"pareto_k": 0},
        {"pareto_k": 1.0},
        {"pareto_k": math.nan},
        {"ess": 0},
        {"ess": math.inf},
        {"rhat": 1.0},
        {"divergences": 1.1},
        {"divergences": -0.1},
    ],
)
def test_rules_out_of_range_are_refused(wrong):
    [name] = wrong
    with pytest.raises(InvalidArgumentError, match=name):
        pma.AcceptanceRule(**wrong)


def test_words_are_those_of_the_rule():
    rule = pma.AcceptanceRule(pareto_k=0.5, ess=1_000, rhat=1.005)
    assert "at most 0.50" in rule.judge_weights(0.6, 900.0, 4_000)
    assert "at least 1000" in rule.judge_weights(0.6, 900.0, 4_000)
    assert "at most 1.005" in rule.judge_mcmc(chains())


def test_none_is_the_usual_rule():
    assert acceptance_rule(None) == RULE
    with pytest.raises(InvalidArgumentError, match=r"pma\.AcceptanceRule"):
        acceptance_rule(0.5)


def test_users_may_set_it(trained):
    """What is accepted by the usual rule is rejected by a hard one, and it is said by which."""
    _, posterior = trained("mixture")
    options = {"correction": "importance", "random_seed": 1, "draws": 2_000, "chains": 1}
    hard = pma.AcceptanceRule(pareto_k=0.01)
    assert posterior.sample(**options).posterior.attrs["checked"] == "accepted"
    with pytest.warns(AccuracyWarning, match=r"at most 0\.01"):
        idata = posterior.sample(acceptance=hard, **options)
    assert idata.posterior.attrs["checked"] == "rejected"
    assert '"pareto_k": 0.01' in idata.posterior.attrs["settings"]
    y = np.asarray(posterior.inference.problem.simulator.observed_data["y"])
    with pytest.warns(AccuracyWarning, match="2 of 2 data sets"):
        many = posterior.sample_many([{"y": y}] * 2, acceptance=hard, progressbar=False, **options)
    assert many.answers["checked"].values.tolist() == ["rejected"] * 2
    with pytest.raises(InvalidArgumentError, match="acceptance"):
        posterior.sample(acceptance=0.5)


def kinds_of_log_weights(rng, num_draws):
    """Columns of log weights, from the plain to what no sampler should return."""
    plain = rng.normal(size=num_draws)
    heavy = -3.0 * np.log(rng.random(num_draws))
    some = np.where(rng.random(num_draws) < rng.random(), plain, -np.inf)
    few = np.where(np.arange(num_draws) < rng.integers(0, 6), plain, -np.inf)
    missing = np.where(rng.random(num_draws) < 0.5, plain, np.nan)
    infinite = np.where(np.arange(num_draws) == rng.integers(num_draws), np.inf, plain)
    nothing = np.full(num_draws, rng.choice([-np.inf, np.nan, np.inf]))
    huge = plain * 10.0 ** rng.integers(0, 300)
    equal = np.full(num_draws, rng.normal())
    return np.stack([plain, heavy, some, few, missing, infinite, nothing, huge, equal], axis=1)


@pytest.mark.parametrize("num_draws", [3, 30, 400, 4_000])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_accepted_of_nothing(num_draws, seed):
    """Whatever weights are: those that count add up to 1, and only such are ever relied on."""
    rng = np.random.default_rng(seed)
    found = weigh(torch.as_tensor(kinds_of_log_weights(rng, num_draws)))
    total = found.log_weights.exp().sum(0)
    some = found.ess > 0
    torch.testing.assert_close(total[some], torch.ones_like(total[some]))
    assert bool((total[~some] == 0).all())
    assert not bool(found.log_weights.isnan().any() | found.ess.isnan().any())
    assert bool((found.ess <= num_draws * (1 + 1e-9)).all())
    for rule in (AcceptanceRule(), AcceptanceRule(pareto_k=0.99, ess=1)):
        relied = rule.relies_on(found)
        assert not bool((relied & (~some | torch.isposinf(found.pareto_k))).any())
        assert not bool((relied & found.pareto_k.isnan()).any())
    # The column of an infinite weight, and that of none.
    assert not bool(AcceptanceRule(ess=1).accepts(found)[[5, 6]].any())


def test_plain_weights_are_relied_on():
    """The test above is not passed by refusing everything."""
    found = weigh(torch.as_tensor(kinds_of_log_weights(np.random.default_rng(0), 4_000)))
    assert AcceptanceRule().accepts(found)[[0, 8]].all()
