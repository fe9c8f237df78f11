"""How long to train: configurations, presets, and what the data at hand may decide."""

import pytest

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.training.config import (
    TrainingConfig,
    check_training,
    is_auto,
    training_config,
)
from tests.training.short_runs import QUICK

BAD = [
    {"steps": -1},
    {"steps": 2.5},
    {"batch_size": -1},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"max_time": -3},
    {"tolerance": "small"},
    {"simulations": 99},
    {"simulations": 1e4},
    {"validation": 0.0},
    {"validation": 1},
    {"patience": 0},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_configurations(bad):
    with pytest.raises(InvalidArgumentError, match=next(iter(bad))):
        TrainingConfig(**bad)


def test_presets():
    assert training_config(None) == training_config("default") == TrainingConfig(max_time=600)
    times = [training_config(name).max_time for name in ("fast", "default", "thorough")]
    assert times == sorted(times)
    assert training_config("fast").steps < TrainingConfig().steps
    assert training_config("thorough").steps > TrainingConfig().steps
    assert training_config(QUICK) is QUICK
    with pytest.raises(InvalidArgumentError, match="thorough"):
        training_config("long")
    with pytest.raises(InvalidArgumentError, match="for the answer to one data set"):
        training_config("auto")


def test_the_data_at_hand_may_decide():
    assert is_auto("auto")
    assert is_auto(None)
    for training in ("auto", None, "none", "fast", "default", "thorough", QUICK):
        check_training(training)
        assert is_auto(training) == (training in ("auto", None))


@pytest.mark.parametrize("training", ["automatic", 100, True, ["auto"]], ids=str)
def test_what_is_none_of_these(training):
    with pytest.raises(InvalidArgumentError, match="'auto', 'none'"):
        check_training(training)


def test_without_a_budget_networks_are_found_by_what_they_were_found_by():
    plain = TrainingConfig(steps=100)
    expected = "TrainingConfig(steps=100, batch_size=256, learning_rate=0.003, weight_decay=0.0001"
    assert plain.fingerprint.startswith(expected)
    assert "simulations" not in plain.fingerprint
    assert "simulations=500" in TrainingConfig(simulations=500).fingerprint
    assert "patience=3" in TrainingConfig(patience=3).fingerprint
