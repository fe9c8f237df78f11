"""Networks that grow along the way, while their model is asked about data set after data set."""

import logging

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import TrainingError
from pymc_amortized.fitting import growing
from pymc_amortized.inference.typicality import Coverage
from pymc_amortized.training import config
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import Usage
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, interrupt_at, same

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]

OFTEN = Usage(datasets=3, seconds=100.0)


@pytest.fixture
def quick(monkeypatch):
    """Presets of 60 and 90 steps; the first network that is of use has 10."""
    short = {"fast": QUICK, "default": pma.TrainingConfig(steps=90, batch_size=32)}
    monkeypatch.setattr(config, "_PRESETS", {**config._PRESETS, **short})
    monkeypatch.setattr(growing, "_FIRST_STEPS", 10)
    monkeypatch.setattr(growing, "_LEAST_SECONDS", -np.inf)


@pytest.fixture
def slowly(monkeypatch):
    """Each time, 15 steps."""

    def until(_):
        left = iter(range(14))
        return lambda step, losses: next(left)  # raises StopIteration

    monkeypatch.setattr(growing, "_until", until)


def answer(cache, number, **options):
    with normal_mean(data(seed=number)):
        idata = pm.sample(
            method="amortized", cache=cache, random_seed=1, progressbar=False, **options
        )
    return idata.posterior.attrs


def networks(cache):
    return {x.kind: x.steps for x in pma.cache.networks(cache)}


@pytest.mark.usefixtures("quick", "slowly")
def test_a_network_grows_from_the_third_data_set_on(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "pymc_amortized"):
        for number in range(3):
            assert networks(tmp_path) == {}
            assert answer(tmp_path, number)["training_time"] == 0
    assert "one grows along the way" in caplog.text
    assert caplog.text.count("The answer is there; a network of the model grows") == 1
    assert networks(tmp_path) == {"network": 15, "checkpoint": 15}
    found = answer(tmp_path, 3)  # by the network of 15 steps, which grows to 30
    assert found["training_time"] > 0
    assert networks(tmp_path) == {"network": 30, "checkpoint": 30}
    answer(tmp_path, 4)
    assert networks(tmp_path) == {"network": 30, "checkpoint": 45}  # not twice as long yet
    answer(tmp_path, 5)
    assert networks(tmp_path) == {"network": 60}  # that of the preset, and no other
    whole = pma.fit(normal_mean(data()), training="fast", cache=tmp_path, progressbar=False)
    assert whole.record.steps == 60
    assert answer(tmp_path, 6)["network_fingerprint"] == whole.record.fingerprint
    assert sorted(x.steps for x in pma.cache.networks(tmp_path)) == [15, 60]  # a longer one begins


@pytest.mark.usefixtures("quick", "slowly")
def test_what_grew_is_what_is_trained_at_once(tmp_path, monkeypatch):
    for number in range(6):
        answer(tmp_path, number)
    grown = pma.fit(normal_mean(data()), training="fast", cache=tmp_path, progressbar=False)
    assert not grown.record.interrupted
    monkeypatch.setattr(growing, "_until", lambda _: lambda step, losses: None)
    posterior = pma.fit(normal_mean(data()), training="none", cache=False)
    growing.grow(posterior, OFTEN, sizes=None, store=NetworkCache(tmp_path / "other"))
    at_once = pma.fit(normal_mean(data()), training="fast", cache=tmp_path / "other")
    assert same(grown.tensors(), at_once.tensors())


@pytest.mark.usefixtures("quick", "slowly")
@pytest.mark.parametrize(
    "options",
    [
        {"training": "none"},
        {"max_time": 60},
        {"correction": "smc", "training": "none"},
    ],
    ids=str,
)
def test_where_nothing_grows(tmp_path, options):
    for number in range(4):
        answer(tmp_path, number, **options)
    assert networks(tmp_path) == {}


@pytest.mark.usefixtures("quick", "slowly")
def test_the_same_data_again_are_no_new_data_set(tmp_path):
    found = [answer(tmp_path, 0) for _ in range(4)]
    assert networks(tmp_path) == {}
    assert len({x["log_evidence"] for x in found}) == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TrainingError("no step was finite", "mu"), "no step was finite"),
        (KeyboardInterrupt(), "You"),
    ],
    ids=["error", "interrupt"],
)
def test_the_answer_is_not_lost(tmp_path, monkeypatch, caplog, error, text):
    def fail(*_):
        raise error

    monkeypatch.setattr(growing.PosteriorTraining, "run", fail)
    with caplog.at_level(logging.INFO, "pymc_amortized"):
        checked = [answer(tmp_path, number)["checked"] for number in range(3)]
    assert checked == ["accepted"] * 3
    assert text in caplog.text


@pytest.mark.usefixtures("quick")
def test_an_interruption_of_training_is_none_of_the_call(tmp_path, monkeypatch):
    for number in range(2):
        answer(tmp_path, number)
    interrupt_at(monkeypatch, 12)
    assert answer(tmp_path, 2)["checked"] == "accepted"
    assert networks(tmp_path)["checkpoint"] == 12


@pytest.mark.usefixtures("quick", "slowly")
def test_who_is_trained_by_another_is_left_alone(tmp_path):
    posterior = pma.fit(normal_mean(data()), training="none", cache=False)
    store = NetworkCache(tmp_path)
    record = growing.blank_record(
        posterior.record.parts,
        posterior.record.orders,
        posterior.inference.problem.layout,
        config.training_config("fast"),
        None,
    )
    with store.lock(record.fingerprint):
        growing.grow(posterior, OFTEN, sizes=None, store=NetworkCache(tmp_path))
        assert networks(tmp_path) == {}
    growing.grow(posterior, OFTEN, sizes=None, store=store)
    assert networks(tmp_path) == {"network": 15, "checkpoint": 15}


@pytest.mark.usefixtures("quick", "slowly")
def test_what_misses_nothing_needs_not_grow(tmp_path):
    posterior = pma.fit(normal_mean(data()), training=QUICK, cache=False, progressbar=False)
    object.__setattr__(posterior.inference, "coverage", Coverage(600, 0))
    growing.grow(posterior, OFTEN, sizes=None, store=NetworkCache(tmp_path))
    assert networks(tmp_path) == {}


@pytest.mark.parametrize(
    ("datasets", "seconds", "grown", "expected"),
    [
        (2, 100.0, 0.0, None),
        (3, 9.0, 0.0, None),
        (3, 12.0, 0.0, 6.0),
        (30, 112.0, 50.0, 6.0),
        (30, 108.0, 50.0, None),
        (30, 1_000.0, 50.0, 30.0),
    ],
)
def test_half_as_long_as_answers_took_once_that_is_worth_it(
    tmp_path, monkeypatch, trained, datasets, seconds, grown, expected
):
    _, posterior = trained("normal_mean")
    given = []
    monkeypatch.setattr(growing, "_grow", lambda _, ends_at, *__: given.append(ends_at))
    monkeypatch.setattr(growing.time, "perf_counter", lambda: 1_000.0)
    usage = Usage(datasets, seconds, grown)
    growing.grow(posterior, usage, sizes=None, store=NetworkCache(tmp_path))
    assert given == ([] if expected is None else [1_000.0 + expected])


def test_a_time_of_the_clock():
    stop = growing._until(np.inf)
    assert stop(1, {}) is None
    with pytest.raises(StopIteration):
        growing._until(0.0)(1, {})
