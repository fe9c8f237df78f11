"""What a first answer begins with: a network of an earlier call, the prior, or a new network."""

import logging

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.fitting import beginning, train_posterior
from tests.trained import chain_without_density, data, normal_mean
from tests.training.short_runs import QUICK

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning"),
]

QUIET = {"random_seed": 1, "progressbar": False}


def answer(cache, seed=0, **options):
    with normal_mean(data(seed=seed) + 1):
        return pm.sample(method="amortized", cache=cache, **{**QUIET, **options})


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(train_posterior, "train", None)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("training", [{}, {"training": None}, {"training": "auto"}], ids=str)
def test_nothing_is_trained_where_the_density_is_known(tmp_path, training):
    idata = answer(tmp_path, **training)
    attrs = idata.posterior.attrs
    assert (attrs["checked"], attrs["confirmed_by"]) == ("accepted", "bridge")
    assert attrs["training_time"] == 0
    same = answer(tmp_path, training="none")
    assert np.array_equal(idata.posterior["mu"], same.posterior["mu"])
    assert not list(tmp_path.glob("*.network"))


@pytest.mark.parametrize("correction", ["none", "importance"])
def test_what_cannot_do_without_is_trained(tmp_path, monkeypatch, correction):
    asked = []

    def fit(simulator, *, training, reuse, **_):
        asked.append((training, reuse))
        raise KeyboardInterrupt

    monkeypatch.setattr(beginning, "fit_simulator", fit)
    for options in ({"correction": correction}, {"networks": pma.Networks()}):
        with pytest.raises(KeyboardInterrupt):
            answer(tmp_path, **options)
    with chain_without_density(data()), pytest.raises(KeyboardInterrupt):
        pm.sample(method="amortized", cache=tmp_path, **QUIET)
    assert asked == [(None, False)] * 3


def test_a_network_of_an_earlier_call_is_used(tmp_path, monkeypatch):
    """However young, and the one that was trained longest."""
    pma.fit(normal_mean(data()), training=QUICK, cache=tmp_path, **QUIET)
    longer = pma.TrainingConfig(steps=90, batch_size=32, num_validation=64)
    posterior = pma.fit(normal_mean(data()), training=longer, cache=tmp_path, **QUIET)
    monkeypatch.setattr(train_posterior, "train", None)
    idata = answer(tmp_path)
    assert idata.posterior.attrs["network_fingerprint"] == posterior.record.fingerprint
    assert idata.posterior.attrs["training_time"] == posterior.record.seconds > 0
    other = answer(tmp_path, order_by=None, sizes={"y": (10, 40)})
    assert other.posterior.attrs["training_time"] == 0
    without = answer(tmp_path, training="none")
    assert without.posterior.attrs["training_time"] == 0


def test_a_network_that_does_not_fit_is_not_used(tmp_path):
    posterior = pma.fit(normal_mean(data()), training=QUICK, cache=tmp_path, **QUIET)
    [path] = tmp_path.glob("*.network")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.warns(pma.errors.CacheWarning, match="cannot be used"):
        idata = answer(tmp_path)
    assert idata.posterior.attrs["training_time"] == 0
    assert posterior.record.steps == 60


def test_answers_are_counted(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(beginning, "grow", lambda *_, **__: None)
    with caplog.at_level(logging.INFO, "pymc_amortized"):
        for number in range(1, 4):
            answer(tmp_path, seed=number)
            assert ("3 data sets of this model" in caplog.text) == (number == 3)
    assert "pma.fit(model)" in caplog.text
    [counts] = tmp_path.glob("*.answers")
    assert '"datasets": 3' in counts.read_text()


@pytest.mark.parametrize(
    "content",
    ["", "[1", "[3, 1.5]", "{}", "null", '{"datasets": "a"}', '{"datasets": 5, "seconds": []}'],
)
def test_damaged_counts_begin_anew(tmp_path, content):
    answer(tmp_path)
    [counts] = tmp_path.glob("*.answers")
    counts.write_text(content)
    answer(tmp_path)
    assert '"datasets": 1' in counts.read_text()


def test_nothing_is_kept_where_nothing_may_be(tmp_path, monkeypatch):
    monkeypatch.setenv("PYMC_AMORTIZED_CACHE", str(tmp_path))
    answer(False)
    assert not list(tmp_path.iterdir())


def test_fit_trains_to_the_end():
    with pytest.raises(pma.errors.InvalidArgumentError, match="one data set"):
        pma.fit(normal_mean(data()), training="auto", **QUIET)


def test_no_density_and_nothing_to_be_trained():
    with (
        chain_without_density(data()),
        pytest.raises(UnsupportedModelError, match="density is known"),
    ):
        pm.sample(method="amortized", training="none", **QUIET)
