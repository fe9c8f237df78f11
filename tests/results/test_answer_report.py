"""What is said of an answer, in the log and in warnings."""

import logging

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import (
    AtypicalDataWarning,
)
from tests.inference.answered import sample
from tests.trained import NUM_UNITS, normal_mean


def test_one_line_says_where_an_answer_comes_from(trained, caplog):
    _, posterior = trained("normal_mean")
    with caplog.at_level(logging.INFO, logger="pymc_amortized"):
        sample(posterior)
    [record] = [r for r in caplog.records if r.name == "pymc_amortized"]
    for word in ("Answered by", "Pareto k", "ESS", "accepted", "importance"):
        assert word in record.getMessage()


def test_warnings_name_the_users_line(poor):
    """Through both doors."""
    y = np.random.default_rng(0).normal(12, 1, NUM_UNITS)
    with pytest.warns(AtypicalDataWarning) as caught:
        poor.sample({"y": y}, random_seed=1)
    assert {w.filename for w in caught} == {__file__}
    config = pma.TrainingConfig(steps=10, tolerance=None)
    with normal_mean(y), pytest.warns(AtypicalDataWarning) as caught:
        pm.sample(method="amortized", training=config, random_seed=1, progressbar=False)
    assert {w.filename for w in caught} == {__file__}
