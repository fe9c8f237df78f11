"""Which variables of a result have labels."""

import pytest

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import (
    InvalidArgumentError,
)
from tests.labels.switched import with_indicators


def test_labels_that_are_not_named_are_said():
    groups = dict(groups_of_result(with_indicators()))
    del groups["indicator_probabilities"]
    idata = result_of_groups(groups)
    with pytest.warns(UserWarning, match=r"\['y_component'\] may be indicators") as caught:
        pma.relabel(idata, "pra")
    assert caught[0].filename == __file__
    found = pma.relabel(idata, indicators=["y_component"])
    assert found["posterior"].attrs["relabelled_by"] == "ecr_iterative_1"


def test_indicators_of_other_mixtures_are_left_alone():
    groups = dict(groups_of_result(with_indicators()))
    for name in ("posterior", "indicator_probabilities"):
        groups[name] = groups[name].assign(other_z=groups[name]["y_component"])
    idata = result_of_groups(groups)
    with pytest.raises(InvalidArgumentError, match="which indicators count"):
        pma.relabel(idata)
    found = groups_of_result(pma.relabel(idata, indicators=["y_component"]))
    for name in ("posterior", "indicator_probabilities"):
        assert found[name]["other_z"].equals(groups[name]["other_z"])
        assert not found[name]["y_component"].equals(groups[name]["y_component"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "best"}, "Expected a method among"),
        ({"component_dim": "cluster"}, r"among .*'component'"),
        ({"component_dim": ("component", "unit")}, "same length"),
        ({"method": "ordering"}, r"one number for each component, among \['w', 'mu'\]"),
        ({"method": "ordering", "by": "other"}, r"among \['w', 'mu'\]"),
        ({"method": "stephens"}, "Expected a model"),
        ({"method": "ecr", "indicators": []}, "Expected indicators"),
        ({"indicators": ["mu"]}, "labels from 0 to 2; got values of type float64"),
        ({"indicators": ["nothing"]}, "got nothing of this name"),
        ({"method": "pra", "pivot": (0, 1_000)}, "among 2 chains and 150 draws"),
        ({"method": "data_based", "data": "x"}, "one observed variable"),
    ],
)
def test_bad_input(options, match):
    with pytest.raises(InvalidArgumentError, match=match):
        pma.relabel(with_indicators(), **options)
