"""What a network says of itself, in text and as a table."""

import dataclasses
import math

import pytest

from pymc_amortized.results.network_report import network_html, network_text
from tests.training.short_runs import fit

pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.fixture(scope="module")
def posterior():
    return fit(cache=False)


def facts(posterior, **changes):
    """Return facts by name, of a record with some changes."""
    text = network_text(posterior.inference, dataclasses.replace(posterior.record, **changes))
    headline, *lines = text.splitlines()
    assert headline == "AmortizedPosterior of y"
    return dict(line.strip().split(": ", 1) for line in lines)


def test_facts(posterior):
    found = facts(posterior)
    assert list(found) == [
        "parameters",
        "indicators",
        "units",
        "trained",
        "validation loss",
        "accuracy",
    ]
    assert found["parameters"] == "mu"
    assert found["indicators"] == "none"
    assert found["trained"].startswith("60 steps of 32 data sets in ")
    assert found["accuracy"].startswith("Pareto k below 0.7 for ")


def test_what_is_said_of_other_trainings(posterior):
    budget = dataclasses.replace(posterior.record.config, simulations=5_000)
    assert "32 data sets out of 5,000 in" in facts(posterior, config=budget)["trained"]
    assert facts(posterior, interrupted=True)["trained"].endswith(", then interrupted")
    in_rounds = facts(posterior, rounds=3, accepted_share=math.nan)
    assert in_rounds["answers"] == "one data set alone, for which it was trained in 3 rounds"
    assert in_rounds["accuracy"] == "of each answer"


def test_the_table_says_the_same(posterior):
    table = network_html(posterior.inference, posterior.record)
    for name, value in facts(posterior).items():
        assert f">{name}</th>" in table
        assert f">{value}</td>" in table
