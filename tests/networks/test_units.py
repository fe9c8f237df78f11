"""Rows of data sets, and what is known of them beforehand."""

import numpy as np
import pytest
import torch

from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import OWNER, make_units


def ragged():
    """Three data sets of 4, 0 and 2 rows, with padding in between."""
    mask = torch.tensor(
        [[True, True, True, True], [False, False, False, False], [True, False, False, True]]
    )
    return Units(make_units(3, 4, 2).values, mask)


@pytest.mark.parametrize(
    ("shape", "scalar"),
    [
        (UnitShape(1, 5, 5), True),
        (UnitShape(2, 5, 5), False),
        (UnitShape(1, 5, 5, exchangeable=False), False),
        (UnitShape(1, 10, 10, owner=OWNER, num_units=3), False),
        (UnitShape(1, 5, 5, num_sequences=1), False),
    ],
    ids=["scalars", "vectors", "places that matter", "shared units", "time points"],
)
def test_order_statistics_are_sufficient_for_sets_of_scalars_alone(shape, scalar):
    assert shape.is_scalar is scalar


def test_what_a_network_is_not_for_is_refused_with_one_that_is():
    with pytest.raises(ValueError, match=r"one row per unit; .* several rows each(.|\n)*DeepSet"):
        UnitShape(1, 10, 10, owner=OWNER, num_units=3).require_one_row_per_unit()
    with pytest.raises(ValueError, match=r"time points .* rows of a set(.|\n)*SetTransformer"):
        UnitShape(1, 10, 10).require_sequences()
    with pytest.raises(ValueError, match=r"Expected one row; got up to 10(.|\n)*SetTransformer"):
        UnitShape(1, 1, 10).require_one_row()
    UnitShape(4, 1, 1).require_one_row()
    UnitShape(1, 10, 10).require_one_row_per_unit()
    UnitShape(1, 10, 10, num_sequences=2).require_sequences()


def test_padding_is_not_counted():
    units = ragged()
    assert len(units) == 3
    assert units.num_rows.tolist() == [4, 0, 2]


@pytest.mark.parametrize("index", [torch.tensor([2, 0, 2]), slice(1, 3), slice(0)], ids=str)
def test_selected_data_sets_keep_their_masks(index):
    units = ragged()
    as_numpy = index if isinstance(index, slice) else index.numpy()
    found = units.select(index)
    assert np.array_equal(found.values, units.values.numpy()[as_numpy])
    assert np.array_equal(found.mask, units.mask.numpy()[as_numpy])


def test_rows_are_picked_for_each_data_set_on_its_own():
    units, index = ragged(), torch.tensor([[3, 0], [1, 1], [0, 2]])
    found = units.rows(index)
    for b in range(3):
        assert torch.equal(found.values[b], units.values[b][index[b]])
        assert torch.equal(found.mask[b], units.mask[b][index[b]])


def test_a_repeated_data_set_takes_no_more_memory():
    units = ragged().select(slice(2, 3))
    found = units.repeat(1_000)
    assert len(found) == 1_000
    assert torch.equal(found.values[999], units.values[0])
    assert torch.equal(found.mask[999], units.mask[0])
    assert found.values.data_ptr() == units.values.data_ptr()
    assert found.mask.data_ptr() == units.mask.data_ptr()
