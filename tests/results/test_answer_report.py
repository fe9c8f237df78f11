"""What is said of an answer, in the log and in warnings."""

import functools
import logging
import math
import warnings

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    AtypicalDataWarning,
    BackendFallbackWarning,
)
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.draws import Draws, McmcDraws
from pymc_amortized.results.answer_report import (
    answer_facts,
    answer_line,
    is_atypical,
    warn_of,
    warn_of_left_out,
)
from tests.inference.answered import sample
from tests.trained import NUM_UNITS, normal_mean

WEIGHED = {"pareto_k": 0.42, "importance_ess": 1_234.0, "num_proposals": 4_000}


def draws_of(rung, *, num_diverging=0, rhat=1.004, **known):
    """Five draws without parameters, and what is known of them."""
    if rung == "mcmc" or known.pop("started_from_mcmc", False):
        diverging = torch.arange(20).view(4, 5) < num_diverging
        known["mcmc"] = McmcDraws(torch.zeros(4, 5, 0), diverging, rhat, 2_345.0, "nutpie", 0.0)
    zeros = torch.zeros(5)
    return Draws({}, zeros[:, None], zeros, zeros, zeros > 0, rung, **known)


@functools.lru_cache
def spec(has_density=True):
    def draw(rng=None, size=None):
        return rng.normal(size=size)

    with pm.Model() as model:
        pm.Normal("mu", 0, 1)
        if has_density:
            pm.Normal("y", 0, 1, observed=np.zeros(3))
        else:
            pm.CustomDist("y", random=draw, observed=np.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackendFallbackWarning)
        return pma.compile_simulator(model, device="cpu").spec


def test_one_line_says_where_an_answer_comes_from(trained, caplog):
    _, posterior = trained("normal_mean")
    with caplog.at_level(logging.INFO, logger="pymc_amortized"):
        sample(posterior)
    [record] = [r for r in caplog.records if r.name == "pymc_amortized"]
    for word in ("Answered by", "Pareto k", "ESS", "accepted", "importance"):
        assert word in record.getMessage()


def test_warnings_name_the_users_line(poor):
    """Through both doors."""
    y = np.random.default_rng(0).normal(12, 1, NUM_UNITS)
    with pytest.warns(AtypicalDataWarning) as caught:
        poor.sample({"y": y}, random_seed=1)
    assert {w.filename for w in caught} == {__file__}
    config = pma.TrainingConfig(steps=10, tolerance=None)
    with normal_mean(y), pytest.warns(AtypicalDataWarning) as caught:
        pm.sample(method="amortized", training=config, random_seed=1, progressbar=False)
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        (
            draws_of("network", seconds={"network": 0.0123}),
            "Answered by the network: not checked; network 0.01 s.",
        ),
        (
            draws_of("importance", accepted=True, seconds={"importance": 1.0}, **WEIGHED),
            "Answered by the network, weighted by importance sampling (Pareto k 0.42, "
            "ESS 1,234 of 4,000): accepted; importance 1.00 s.",
        ),
        (
            draws_of("adaptive", started_from_mcmc=True, accepted=False, **WEIGHED),
            "Answered by adaptive importance sampling, started from MCMC chains (Pareto k 0.42, "
            "ESS 1,234 of 4,000): rejected; .",
        ),
        (
            draws_of("mcmc", accepted=True, seconds={"network": 0.1, "mcmc": 2.0}, **WEIGHED),
            "Answered by MCMC chains (R-hat 1.004, bulk ESS 2,345): accepted; network 0.10 s, "
            "mcmc 2.00 s.",
        ),
    ],
    ids=lambda x: x.rung if isinstance(x, Draws) else "",
)
def test_the_line_tells_the_rung_and_what_it_was_judged_by(draws, expected):
    assert answer_line(draws) == expected


def test_facts_are_numbers_and_words_that_a_file_can_hold():
    plain = answer_facts(draws_of("network"))
    assert (plain["rung"], plain["checked"], plain["divergences"]) == ("network", "no", 0)
    assert math.isnan(plain["rhat"])
    assert math.isnan(plain["log_evidence"])
    mcmc = answer_facts(draws_of("mcmc", num_diverging=3, accepted=False, seconds={"mcmc": 2.0}))
    assert (mcmc["rung"], mcmc["checked"], mcmc["divergences"]) == ("mcmc", "rejected", 3)
    assert (mcmc["rhat"], mcmc["ess_bulk"]) == (1.004, 2_345.0)
    assert (mcmc["seconds_mcmc"], mcmc["seconds_adaptive"]) == (2.0, 0.0)
    assert set(plain) == set(mcmc)
    assert {type(value) for value in mcmc.values()} <= {int, float, str}


@pytest.mark.parametrize(
    ("draws", "has_density", "category", "message"),
    [
        (
            draws_of("adaptive", accepted=False, **{**WEIGHED, "pareto_k": 0.92}),
            True,
            AccuracyWarning,
            r'0\.92 \(at most .* of 4,000 \(at least(.|\n)*correction="auto"',
        ),
        (
            draws_of("adaptive", accepted=False, **WEIGHED),
            True,
            AccuracyWarning,
            r'^Nothing confirms this answer(.|\n)*confirm="none"',
        ),
        (
            draws_of("adaptive", accepted=False, confirmed_by="neither", **WEIGHED),
            True,
            AccuracyWarning,
            r'^Two estimates(.|\n)*disagree(.|\n)*correction="mcmc"',
        ),
        (
            draws_of("mcmc", accepted=False, rhat=1.3),
            True,
            AccuracyWarning,
            r'R-hat 1\.300(.|\n)*training="thorough"',
        ),
        (
            draws_of("mcmc", accepted=False),
            True,
            AccuracyWarning,
            r'^Nothing confirms this answer(.|\n)*confirm="none"',
        ),
        (
            draws_of("mcmc", accepted=True, num_diverging=3),
            True,
            AccuracyWarning,
            "^3 of 20 draws of the MCMC chains diverged",
        ),
        (draws_of("network"), False, AccuracyWarning, "could not be checked"),
        (
            draws_of("importance", accepted=True, simulation_quantile=0.9987, **WEIGHED),
            True,
            AtypicalDataWarning,
            r"than 99\.8 % of these do(.|\n)*accepted",
        ),
        (
            draws_of("importance", accepted=False, simulation_quantile=1.0),
            True,
            AtypicalDataWarning,
            r"than all of these do(.|\n)*rejected",
        ),
    ],
)
@pytest.mark.usefixtures("interpreted")
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")
def test_users_are_warned_of_what_is_wrong(draws, has_density, category, message):
    with pytest.warns(category, match=message):
        warn_of(draws, spec(has_density), AcceptanceRule())


@pytest.mark.usefixtures("interpreted")
def test_of_a_good_answer_nothing_is_said():
    """Warnings are errors."""
    for draws in (
        draws_of("importance", accepted=True, simulation_quantile=0.98),
        draws_of("mcmc", accepted=True),
        draws_of("network"),
    ):
        warn_of(draws, spec(), AcceptanceRule())
    warn_of_left_out(set())
    assert not is_atypical(math.nan)


def test_deterministics_that_are_left_out_are_named_in_order():
    with pytest.warns(UserWarning, match=r"\['a', 'b'\] depend on data or on indicators"):
        warn_of_left_out({"b", "a"})
