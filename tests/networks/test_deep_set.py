"""The summary network of sets of vectors."""

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.networks.summary.deep_set import products_of, second_order
from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import OWNER, make_units


def grouped():
    torch.manual_seed(0)
    shape = UnitShape(2, 10, 10, num_components=2, owner=OWNER, num_units=3)
    return pma.DeepSet(shape).eval()


def test_products_are_those_of_an_outer_product():
    values = make_units(2, 5, 4).values.numpy()
    outer = values[..., :, None] * values[..., None, :]
    expected = outer[(..., *np.triu_indices(4))]
    assert np.array_equal(products_of(torch.as_tensor(values)), expected)


@pytest.mark.parametrize(("num_features", "length"), [(1, 2), (3, 9), (8, 44), (9, 9)])
def test_above_eight_features_there_are_no_products(num_features, length):
    values = make_units(2, 5, num_features).values
    found = second_order(values)
    assert found.shape == (2, 5, length)
    assert torch.equal(found[..., :num_features], values)


def test_grouped_rows_are_pooled_by_unit():
    network = grouped()
    units = make_units(3, 10, 2)
    within = torch.tensor([1, 0, 6, 3, 4, 5, 2, 7, 8, 9])  # swaps rows of the same units
    across = torch.tensor([2, 1, 0, 3, 4, 5, 6, 7, 8, 9])  # swaps rows of different ones
    with torch.no_grad():
        summary = network(units)
        assert torch.allclose(summary, network(units.rows(within.expand(3, -1))), atol=1e-5)
        assert not torch.allclose(summary, network(units.rows(across.expand(3, -1))), atol=1e-5)


def test_padded_rows_of_a_unit_do_not_count():
    network, units = grouped(), make_units(3, 10, 2)
    mask = units.mask.clone()
    mask[:, [1, 4]] = False
    junk = units.values.clone()
    junk[:, [1, 4]] = 1e4
    with torch.no_grad():
        found = network(Units(junk, mask))
        assert torch.allclose(found, network(Units(units.values, mask)), atol=1e-5)
        assert not torch.allclose(found, network(units), atol=1e-3)


def test_the_number_of_rows_comes_in_as_their_log_share_of_the_largest_alone():
    """Means and maxima are those of the same rows twice, if twice as many are the most."""
    torch.manual_seed(0)
    small = pma.DeepSet(UnitShape(3, 1, 12)).eval()
    large = pma.DeepSet(UnitShape(3, 1, 24)).eval()
    large.load_state_dict(small.state_dict())
    units = make_units(4, 6, 3)
    twice = Units(torch.cat([units.values] * 2, 1), torch.cat([units.mask] * 2, 1))
    with torch.no_grad():
        assert torch.allclose(small(units), large(twice), atol=1e-5)
        assert not torch.allclose(small(units), large(units), atol=1e-3)
