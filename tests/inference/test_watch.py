"""A bound on the time of an answer, and what is said meanwhile."""

import math
import time

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError
from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.mcmc import McmcRung
from pymc_amortized.inference.correction.smc import SmcRung
from pymc_amortized.inference.watch import OutOfTimeError, Watch, check_max_time
from pymc_amortized.posterior import AmortizedPosterior
from tests.inference.answered import sample, sample_many


def test_without_a_bound_there_is_always_time():
    watch = Watch()
    watch.check()
    watch.tell("nothing listens")
    assert watch.seconds_left == math.inf


def test_time_runs_out():
    watch = Watch(0.05)
    watch.check()
    time.sleep(0.06)
    with pytest.raises(OutOfTimeError):
        watch.check()


def test_what_is_going_on_is_said_again_whenever_time_is_looked_at():
    """Whoever shows it knows so that it is still going on."""
    shown = []
    watch = Watch(60, shown.append)
    watch.check()
    watch.tell("first")
    watch.check()
    watch.tell("second")
    assert shown == ["first", "first", "second"]


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "60", [60]])
def test_bounds_that_are_none(value, trained):
    _, posterior = trained("normal_mean")
    for refused in (check_max_time, lambda x: posterior.sample(max_time=x)):
        with pytest.raises(InvalidArgumentError, match="max_time=60"):
            refused(value)
    with pytest.raises(InvalidArgumentError, match="max_time=60"):
        pma.AmortizedSampler(max_time=value)


@pytest.mark.parametrize("value", [None, 5, 0.5, math.inf])
def test_bounds(value):
    assert check_max_time(value) == value


def test_no_time_at_all_is_answered_by_the_network(poor):
    """A network that is no good: its weighted draws are returned, and are not accepted."""
    started = time.perf_counter()
    with pytest.warns(AccuracyWarning, match="Time was out before"):
        attrs = sample(poor, max_time=1e-6).posterior.attrs
    assert time.perf_counter() - started < 5
    assert (attrs["rung"], attrs["checked"]) == ("importance", "rejected")
    assert (attrs["stopped_by"], attrs["confirmed_by"]) == ("max_time", "nothing")
    attrs = sample(poor, max_time=600).posterior.attrs
    assert (attrs["checked"], attrs["stopped_by"]) == ("accepted", "nothing")


def test_time_that_ends_before_a_second_estimate(trained):
    """The answer would be accepted, but nothing has confirmed it."""
    _, posterior = trained("normal_mean")
    with pytest.warns(AccuracyWarning, match="before there was an answer that is confirmed"):
        attrs = sample(posterior, max_time=1e-6).posterior.attrs
    assert (attrs["checked"], attrs["stopped_by"]) == ("rejected", "max_time")
    assert attrs["pareto_k"] < 0.7
    unconfirmed = pma.AcceptanceRule(confirm="none")
    attrs = sample(posterior, max_time=1e-6, acceptance=unconfirmed).posterior.attrs
    assert attrs["checked"] == "accepted"


def test_of_many_those_that_are_done_are_kept(poor):
    ys = poor.inference.problem.simulator.sample(6, 3).observations["y"].numpy()
    with pytest.warns(AccuracyWarning, match="of 6 data sets were answered, and the answer rej"):
        answers = sample_many(poor, {"y": ys}, max_time=1e-6).answers
    assert set(answers["stopped_by"].values) <= {"max_time", "nothing"}
    rejected = answers["checked"] == "rejected"
    assert (answers["stopped_by"].values[rejected] == "max_time").all()
    assert (sample_many(poor, {"y": ys}).answers["checked"] == "accepted").all()


def test_who_interrupts_gets_the_best_so_far(trained, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    _, posterior = trained("normal_mean")
    monkeypatch.setattr(Confirmation, "settle", interrupt)
    with pytest.warns(AccuracyWarning, match="You interrupted before"):
        result = sample(posterior)
    assert result.posterior.attrs["stopped_by"] == "interrupt"
    assert result.posterior["mu"].shape == (4, 1000)


def test_chains_are_not_compiled_when_there_is_hardly_time(poor, monkeypatch):
    monkeypatch.setattr(Confirmation, "settle", lambda self, at, *found: (*found, "nothing"))
    monkeypatch.setattr(SmcRung, "draw", lambda self, at: None)
    begun, poor = [], AmortizedPosterior(poor.inference, poor.record)  # nothing compiled yet
    original = McmcRung.draw
    monkeypatch.setattr(McmcRung, "draw", lambda *args: begun.append(1) or original(*args))
    started = time.perf_counter()
    with pytest.warns(AccuracyWarning, match="Time was out before"):
        attrs = sample(poor, max_time=19).posterior.attrs
    assert begun
    assert time.perf_counter() - started < 15
    assert (attrs["rung"], attrs["stopped_by"]) == ("adaptive", "max_time")


def test_an_answer_says_what_it_does(trained, monkeypatch):
    """On the way of a second estimate, too."""
    shown = []
    monkeypatch.setattr("pymc_amortized.training.progress._SHOWN_AFTER", 1e9)
    original = Watch.tell

    def tell(watch, text):
        shown.append(text)
        original(watch, text)

    monkeypatch.setattr(Watch, "tell", tell)
    _, posterior = trained("normal_mean")
    sample(posterior)
    assert shown[0] == "importance sampling"
    assert "a second estimate from the prior" in shown
    assert shown[-1] == "particles from the prior, 100% of the way"


def test_what_draws_come_from_is_said_of_the_best_so_far(poor):
    """Asked for chains alone, there are none but the network's weighted draws before them."""
    fresh = AmortizedPosterior(poor.inference, poor.record)
    attrs = sample(fresh, correction="mcmc", max_time=19).posterior.attrs
    assert (attrs["rung"], attrs["stopped_by"]) == ("importance", "max_time")
