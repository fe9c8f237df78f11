"""Networks for a model."""

import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.networks.build import build_estimator
from pymc_amortized.networks.classification.path_network import PathNetwork
from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.networks.units import UnitShape
from tests.networks.unit_tables import OWNER, make_units

SCALARS = UnitShape(1, 10, 10, num_components=2, learns="units")
VECTORS = UnitShape(3, 10, 10)
TIMES = UnitShape(2, 10, 10, num_components=2, num_sequences=1, learns="paths")


@pytest.mark.parametrize(
    "network", [pma.OrderStatisticsNetwork, pma.SetTransformer, pma.SoftClusterNetwork]
)
def test_networks_refuse_what_they_are_not_for(network):
    with pytest.raises(ValueError, match="DeepSet"):
        network(UnitShape(2, 10, 10, owner=OWNER, num_units=3))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (SCALARS, pma.OrderStatisticsNetwork),
        (UnitShape(1, 10, 10, exchangeable=False), pma.SoftClusterNetwork),
        (UnitShape(8, 10, 10), pma.SoftClusterNetwork),
        (UnitShape(9, 10, 10), pma.DeepSet),
        (UnitShape(9, 1, 1), pma.VectorNetwork),
        (UnitShape(1, 1, 1), pma.VectorNetwork),
        (UnitShape(3, 1, 1, num_sequences=1), pma.SoftStateNetwork),
        (UnitShape(1, 10, 10, owner=OWNER, num_units=3), pma.DeepSet),
        (TIMES, pma.SoftStateNetwork),
    ],
    ids=[
        "scalars",
        "places that matter",
        "vectors",
        "long vectors",
        "one row",
        "one number",
        "one time",
        "shared units",
        "chains",
    ],
)
def test_the_summary_network_that_rows_are_given(shape, expected):
    [summary] = build_estimator([shape], 2, 6).summaries
    assert type(summary) is expected


def test_each_table_has_networks_for_what_is_to_be_learned_of_it():
    estimator = build_estimator([SCALARS, VECTORS, TIMES], 2, 6)
    assert estimator.classified == {0, 2}
    assert type(estimator.classifiers["0"]) is UnitClassifier
    assert type(estimator.path_networks["2"]) is PathNetwork
    assert len(estimator.classifiers) == len(estimator.path_networks) == 1


@pytest.mark.parametrize(
    "bad", [{"summary": 3}, {"posterior": True}, {"classification": False}, {"summary": "set"}]
)
def test_what_builds_no_network(bad):
    with pytest.raises(InvalidArgumentError, match=f"Expected {next(iter(bad))} to be"):
        pma.Networks(**bad)


def test_the_posterior_network_sees_the_summaries_of_all_tables():
    seen = []

    def record(*sizes):
        seen.append(sizes)
        return pma.MixtureDensity(*sizes)

    networks = pma.Networks(
        summary=lambda shape: pma.DeepSet(shape, context_size=10 * shape.num_features),
        posterior=record,
    )
    estimator = build_estimator([SCALARS, VECTORS], 2, 6, networks)
    assert seen == [(2, 40)]
    assert type(estimator.posterior) is pma.MixtureDensity
    assert build_estimator([SCALARS, VECTORS], 0, 0, networks).posterior is None
    assert len(seen) == 1


def test_the_users_classifier_is_built_for_tables_with_an_indicator():
    seen = []

    def record(shape, num_features):
        seen.append((shape, num_features))
        return UnitClassifier(shape, num_features, width=8)

    build_estimator([VECTORS, SCALARS], 2, 6, pma.Networks(classification=record))
    assert seen == [(SCALARS, 6)]


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = build_estimator([SCALARS], 2, 6, random_seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = build_estimator([SCALARS], 2, 6, random_seed=3).state_dict()
    other = build_estimator([SCALARS], 2, 6, random_seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_entries_as_they_are():
    units = make_units(3, 10, 2)
    network = pma.IdentityNetwork(UnitShape(2, 10, 10))
    assert network.context_size == 20
    assert torch.equal(network(units), units.values.reshape(3, 20))
    with pytest.raises(ValueError, match=r"as many rows; got 5 to 10(.|\n)*SetTransformer"):
        pma.IdentityNetwork(UnitShape(2, 5, 10))
