"""Warnings name the user's own line, from every door."""

import functools
import warnings

import numpy as np
import pymc as pm
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.messages import PeriodicLog, warn
from tests.clock import Clock
from tests.trained import data, mixture


def caught_lines(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return {(w.filename, w.lineno) for w in caught if w.category.__module__ != "builtins"}


def line_of(function):
    return (__file__, function.__code__.co_firstlineno + 1)


def test_frames_of_other_libraries_do_not_matter():
    """A frame of the package above one of another library: the caller of the upper one is named."""
    scope = {"__name__": "pymc_amortized.somewhere", "warn": warn, "functools": functools}
    code = "def inner(x):\n    warn('text', UserWarning)\n\ndef door():\n    list(map(inner, [1]))"
    exec(code, scope)
    with pytest.warns(UserWarning, match="text") as caught:
        scope["door"]()
    assert caught[0].filename == __file__


RIVALS = {"draws": 4, "random_seed": 1}


def test_doors_name_the_line_of_the_user(tmp_path):
    model = mixture(data())
    config = pma.TrainingConfig(steps=2, batch_size=8, num_validation=8, tolerance=None)
    options = {"training": config, "random_seed": 1, "progressbar": False, "cache": False}

    def by_pymc():
        return pm.sample(
            method="amortized", model=model, tune=5, correction="importance", **options
        )

    def by_package():
        return pma.sample(model=model, tune=5, correction="importance", **options)

    posterior = pma.fit(model, **options)
    far = {"y": np.full(40, 1e4)}

    def by_posterior():
        return posterior.sample(far, correction="importance", **RIVALS)

    def by_many():
        return posterior.sample_many([far], correction="importance", progressbar=False, **RIVALS)

    for door in (by_pymc, by_package, by_posterior, by_many):
        assert caught_lines(door) == {line_of(door)}, door.__name__


DOORS = {
    "pma.compile_simulator(model)": pma.compile_simulator,
    "pma.fit(model)": pma.fit,
    "pma.sample(model=model)": pma.sample,
    'pm.sample(method="amortized", model=model)': lambda: pm.sample(method="amortized"),
    "pma.AmortizedSampler()(model)": lambda: pma.AmortizedSampler()(),
    "pma.load(path, model)": lambda: pma.load("nowhere"),
    "pma.add_indicators(idata, model)": lambda: pma.add_indicators(
        xarray.DataTree.from_dict(
            {"posterior": xarray.Dataset({"mu": (("chain", "draw"), np.zeros((1, 4)))})}
        )
    ),
}


@pytest.mark.parametrize("call", DOORS)
def test_without_a_model_the_function_that_was_called_is_named(call):
    with pytest.raises(pma.errors.ModelReadingError) as error:
        DOORS[call]()
    assert str(error.value).endswith(f"\n\n    {call}")


def test_long_work_says_where_it_stands_every_half_minute(caplog):
    clock = Clock()
    log = PeriodicLog(clock=clock)
    with caplog.at_level("INFO", logger="pymc_amortized"):
        for second in range(0, 100, 2):
            clock.now = float(second)
            log.tell(f"step {second}", seconds_left=100.0 - second)
    assert [record.getMessage() for record in caplog.records] == [
        "Not done after 30 s: step 30; about 70 s left.",
        "Not done after 60 s: step 60; about 40 s left.",
        "Not done after 90 s: step 90; about 10 s left.",
    ]


def test_a_line_that_comes_late_puts_off_the_next(caplog):
    """Of work that cannot say where it stands for a while."""
    clock = Clock()
    log = PeriodicLog(10.0, clock)
    with caplog.at_level("INFO", logger="pymc_amortized"):
        for second in (9.0, 19.0, 28.0, 600.0, 36_000.0):
            clock.now = second
            log.tell("chains")
    said = [record.getMessage().removesuffix(": chains.") for record in caplog.records]
    assert said == [f"Not done after {x}" for x in ("19 s", "10 min", "10.0 h")]
