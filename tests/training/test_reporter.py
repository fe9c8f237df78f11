"""What training says, and when: by a clock that tests move."""

import io
import logging
import re

import pytest
import rich

from rich.console import Console

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.reporter import Reporter, Reporting, check_callback
from pymc_amortized.training.state import TrainingState

LOSSES = {"posterior": 1.0, "classification": 0.25}


def screen(monkeypatch, **options):
    console = Console(file=io.StringIO(), **options)
    monkeypatch.setattr(rich, "_console", console)
    return console.file


def run(caplog, reporting, *, steps=7_000, done=3_000, per_step=0.03, max_time=None, first=0):
    """Go through so many steps of a training; return the lines of the log."""
    now = [0.0]
    config = TrainingConfig(steps=steps, max_time=max_time)
    reporter = Reporter(reporting, config, clock=lambda: now[0])
    with caplog.at_level(logging.INFO, "pymc_amortized"), reporter:
        reporter.begin(TrainingState(step=first, horizon=steps))
        for step in range(first + 1, first + done + 1):
            now[0] += per_step
            state = TrainingState(step=step, horizon=steps, seconds=now[0])
            reporter.step(state, LOSSES)
    return [record.getMessage() for record in caplog.records]


def test_where_there_is_no_screen_the_log_tells(monkeypatch, caplog, tmp_path):
    screen(monkeypatch, force_terminal=False)
    first, *lines = run(caplog, Reporting(show=True, place=tmp_path))
    assert "at most 6,968 steps, some 4 min" in first or "at most 6,968 steps, some 3 min" in first
    assert str(tmp_path) in first
    assert len(lines) == 2  # 90 seconds, the first one of which the announcement took
    assert re.search(r"2,0\d\d of 7,000 steps, loss 1\.250; about \d+ (s|min) left", lines[1])


def test_on_a_screen_it_is_announced_once(monkeypatch, caplog):
    screen(monkeypatch, force_terminal=True)
    [line] = run(caplog, Reporting(show=True))
    assert "kept" not in line


def test_short_training_says_nothing(monkeypatch, caplog):
    screen(monkeypatch, force_terminal=False)
    assert run(caplog, Reporting(show=True), steps=100, done=100) == []


def test_nothing_is_said_unless_asked_for(monkeypatch, caplog):
    file = screen(monkeypatch, force_terminal=True)
    assert run(caplog, Reporting()) == []
    assert file.getvalue() == ""


def test_slow_steps_are_announced_before_there_are_many(monkeypatch, caplog):
    screen(monkeypatch, force_terminal=False)
    [line] = run(caplog, Reporting(show=True), per_step=6.0, done=4)
    assert "some 11.7 h" in line


def test_time_that_is_bounded_is_what_is_left(monkeypatch, caplog):
    screen(monkeypatch, force_terminal=True)
    [line] = run(caplog, Reporting(show=True), max_time=61.0)
    assert "some 60 s" in line


def test_training_that_goes_on_counts_its_own_steps(monkeypatch, caplog):
    screen(monkeypatch, force_terminal=True)
    [line] = run(caplog, Reporting(show=True), first=3_000, per_step=0.1, done=40)
    assert "at most 3,968 steps, some 7 min" in line


def test_a_share_is_computed_where_it_is_seen(monkeypatch):
    file, computed = screen(monkeypatch, force_terminal=True, width=80), []
    for show in (True, False):

        def share(show=show):
            computed.append(show)
            return 0.95

        with Reporter(Reporting(show, accepted=share), TrainingConfig(steps=30_000)) as reporter:
            reporter.begin(TrainingState(horizon=30_000))
            for number in range(1, 6):
                history = ({"step": 6_000},) * number
                state = TrainingState(step=29_980, horizon=30_000, history=history)
                reporter.check(state, 1.0)
            reporter.step(state, {"posterior": -123.456})
    assert computed == [True]
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", file.getvalue())
    last = text.replace("\r", "\n").rstrip().splitlines()[-1].strip()
    assert len(last) <= 80
    for part in ("29980/30000", "loss -123.456", "k < 0.7: 95%", "left"):
        assert part in last
    assert "…" not in last


@pytest.mark.parametrize("bad", [3, "print", True, [print]], ids=str)
def test_what_is_no_callback(bad):
    with pytest.raises(InvalidArgumentError, match="Expected callback to be a function"):
        check_callback(bad)


def test_callbacks_and_none():
    assert check_callback(None) is None
    assert check_callback(print) is print
