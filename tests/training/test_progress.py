"""What terminals show of training, of many data sets, and of one answer that takes its time."""

import io
import re

import pytest
import rich

from rich.console import Console

from pymc_amortized.training import progress
from pymc_amortized.training.progress import DatasetProgress, TrainingProgress, answer_progress
from tests.clock import Clock

LONG = "two populations of particles from the prior, and more of them than anybody has names for"


def console(monkeypatch, width=120, *, terminal=True):
    """A terminal without colours, or a file; its ``file`` holds what is written."""
    found = Console(
        file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, _environ={}
    )
    monkeypatch.setattr(rich, "_console", found)
    return found


@pytest.fixture
def screen(monkeypatch):
    """A terminal, and what is on it."""
    return console(monkeypatch).file


@pytest.fixture
def narrow(monkeypatch):
    return console(monkeypatch, 80).file


def lines(screen):
    """Return what has been on a screen, line by line, without what moves the cursor."""
    text = re.sub(r"\x1b\[[0-9?;]*[a-zA-Z]", "", screen.getvalue())
    return [line for line in re.split(r"[\r\n]+", text) if line]


def test_training(screen):
    with TrainingProgress(20, show=True) as bar:
        bar.update(10, loss=1.25, accepted=0.5)
    text = screen.getvalue()
    assert "Training" in text
    assert "10/20" in text
    assert "loss 1.250" in text
    assert "k < 0.7: 50%" in text


def test_data_sets(narrow):
    clock = Clock()
    with DatasetProgress(300, True, clock) as bar:
        clock.now = 5.0
        bar.advance(16)
    [last] = {line for line in lines(narrow) if "16/300" in line}
    assert re.fullmatch(r"Data sets answered +[━╸╺ ]+ +16/300 0:00:05 left 0:01:29 *", last)


def test_parts_are_counted_anew_each_with_its_own_time(narrow):
    clock = Clock()
    with DatasetProgress(300, True, clock) as bar:
        bar.begin("answered by the network")
        clock.now = 100.0
        bar.advance(300)
        bar.begin("answered with correction", 100)
        clock.now = 110.0
        bar.advance(50)
    assert any(
        re.search("by the network .* 300/300 0:01:40 left 0:00:00", x) for x in lines(narrow)
    )
    last = lines(narrow)[-1]
    assert re.search("with correction .* 50/100 0:00:10 left 0:00:10", last)


def test_80_columns_suffice_for_any_text_and_any_number(narrow):
    """Names are shortened; counts and times never are, even after days."""
    clock = Clock()
    with DatasetProgress(100_000, True, clock) as bar:
        bar.begin("with a component of a very long name indeed drawn")
        clock.now = 5e5
        bar.advance(12_345)
    with answer_progress(True, clock) as tell:
        clock.now = 5.5e5
        tell(LONG)
        tell("particles from the prior, 50% of the way")
    shown = lines(narrow)
    assert max(map(len, shown)) <= 80
    assert any(re.search("12345/100000 5 days, 18:53:20 left 986:", line) for line in shown)
    assert any(re.search("from the prior, and.*… 13:53:20", line) for line in shown)
    assert any("Answering: particles from the prior, 50% of the way 13:53" in x for x in shown)
    assert not any("…" in line.split("/100000")[-1] for line in shown if "/100000" in line)


def test_an_answer_that_takes_its_time(screen, monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)
    with answer_progress(show=True) as tell:
        tell("MCMC chains")
    assert "Answering: MCMC chains" in screen.getvalue()


def test_what_is_quick_shows_nothing(screen):
    clock = Clock()
    with answer_progress(True, clock) as tell:
        tell("importance sampling")
    with DatasetProgress(3, True, clock) as bar:
        clock.now = 0.9
        bar.advance(3)
    assert screen.getvalue() == ""


def test_nothing_is_left_of_what_was_shown(screen):
    """The last that is written erases the line."""
    clock = Clock()
    with DatasetProgress(3, True, clock) as bar:
        clock.now = 2.0
        bar.advance(1)
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


def test_nothing_is_shown_unless_asked_for(screen, caplog):
    clock = Clock()
    with answer_progress(False, clock) as tell, DatasetProgress(3, False, clock) as bar:
        clock.now = 100.0
        tell("MCMC chains")
        bar.tell("MCMC chains")
        bar.advance(1)
    with TrainingProgress(20, show=False) as bar:
        bar.update(10)
    assert screen.getvalue() == ""
    assert not caplog.records


@pytest.mark.parametrize("terminal", [True, False])
def test_files_have_lines_of_the_log_instead(monkeypatch, caplog, terminal):
    found, clock = console(monkeypatch, terminal=terminal), Clock()
    with caplog.at_level("INFO", logger="pymc_amortized"):
        with answer_progress(True, clock) as tell:
            for second in range(65):
                clock.now = float(second)
                tell(f"MCMC chains since {second}")
        with DatasetProgress(300, True, clock) as bar:
            clock.now = 90.0
            bar.advance(100)
            clock.now = 100.0
            bar.tell("MCMC chains")
            bar.begin("answered with correction")
            clock.now = 184.0
            bar.advance(16)
    logged = [record.getMessage() for record in caplog.records]
    assert bool(found.file.getvalue()) == terminal
    if terminal:
        assert logged == []
        return
    assert logged == [
        "Not done after 30 s: MCMC chains since 30.",
        "Not done after 60 s: MCMC chains since 60.",
        "Not done after 36 s: 100 of 300 data sets answered, now MCMC chains; about 52 s left.",
        "Not done after 2 min: 16 of 300 data sets answered with correction; about 25 min left.",
    ]
