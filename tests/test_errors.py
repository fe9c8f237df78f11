"""Errors and warnings: one family, with the facts that a program needs."""

import inspect

import pytest

import pymc_amortized as pma

from pymc_amortized import errors

PUBLIC = [getattr(errors, name) for name in errors.__all__]
ERRORS = [cls for cls in PUBLIC if not issubclass(cls, Warning)]
FACTS = {
    "ObservationShapeError": {"variable": "y", "expected": (1, 5), "got": (7,)},
    "TrainingError": {"variable": "mu"},
    "NetworkFileError": {"path": "a.amortized", "differences": ("data",)},
    "AcceptanceRateError": {"acceptance_rate": 0.0},
    "SeveralUnitsError": {"indicator": "z"},
    "NonFiniteSimulationError": {"variable": "y", "parameters": {"mu": 1.0}},
}


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_all_are_caught_by_one_name_and_by_one_of_python(cls):
    assert issubclass(cls, errors.AmortizedError)
    if cls is not errors.AmortizedError:
        of_python = [c for c in cls.__mro__ if c.__module__ == "builtins"]
        assert set(of_python) - {Exception, BaseException, object}


@pytest.mark.parametrize("name", FACTS)
def test_errors_hold_their_facts(name):
    error = getattr(errors, name)("Expected this; got that.", **FACTS[name])
    assert str(error) == "Expected this; got that."
    for fact, value in FACTS[name].items():
        assert getattr(error, fact) == value


def test_every_fact_of_an_error_is_in_the_table():
    with_facts = {cls.__name__ for cls in ERRORS if "__init__" in vars(cls)}
    assert with_facts - {"UnconvertibleOpError"} == set(FACTS)


def test_warnings_are_those_of_users_and_all_are_public():
    warnings = [cls for cls in PUBLIC if issubclass(cls, Warning)]
    assert len(warnings) >= 4
    assert all(issubclass(cls, UserWarning) for cls in warnings)
    defined = {n for n, x in vars(errors).items() if inspect.isclass(x) and x in ERRORS + warnings}
    assert defined == set(errors.__all__)
    assert pma.errors is errors
