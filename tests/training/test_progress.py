"""What terminals show of training, of many data sets, and of one answer that takes its time."""

import io

import pytest
import rich

from rich.console import Console

from pymc_amortized.training import progress
from pymc_amortized.training.progress import TrainingProgress, answer_progress, dataset_progress


@pytest.fixture
def screen(monkeypatch):
    """A terminal, and what is on it."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(rich, "_console", console)
    return console.file


def test_training(screen):
    with TrainingProgress(20, show=True) as bar:
        bar.update(10, loss=1.25, accepted=0.5)
    text = screen.getvalue()
    assert "Training" in text
    assert "10/20" in text
    assert "loss 1.250" in text
    assert "k < 0.7: 50%" in text


def test_data_sets(screen):
    with dataset_progress(3, show=True) as advance:
        advance(2)
    assert "2/3" in screen.getvalue()


def test_an_answer_that_takes_its_time(screen, monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)
    with answer_progress(show=True) as tell:
        tell("MCMC chains")
    assert "Answering: MCMC chains" in screen.getvalue()


def test_quick_answers_show_nothing(screen):
    with answer_progress(show=True) as tell:
        tell("importance sampling")
    assert "Answering" not in screen.getvalue()


def test_nothing_is_shown_unless_asked_for(screen, monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)
    with answer_progress(show=False) as tell, dataset_progress(3, show=False) as advance:
        tell("MCMC chains")
        advance(1)
    with TrainingProgress(20, show=False) as bar:
        bar.update(10)
    assert screen.getvalue() == ""


def test_an_answer_shows_nothing_in_files(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=False)
    monkeypatch.setattr(rich, "_console", console)
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)
    with answer_progress(show=True) as tell:
        tell("MCMC chains")
    assert console.file.getvalue() == ""
