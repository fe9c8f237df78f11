"""Views, gathers and replacements, against PyTensor one data set at a time."""

import numpy as np
import pytensor.tensor as pt
import pytest

from tests.graph.expressions import (
    INDEX,
    MATRIX,
    SCALAR,
    TABLE,
    VECTOR,
    check_batch,
    check_gradient,
)

pytestmark = pytest.mark.usefixtures("interpreted")

EXPRESSIONS = {
    "slice": MATRIX[1:3, ::2],
    "slice_negative": MATRIX[::-1, -2:],
    "row": MATRIX[-1],
    "gather_constant": VECTOR[[3, 0, 0]],
    "gather_random": pt.constant(TABLE)[INDEX],
    "gather_both": MATRIX[INDEX],
    "gather_second_axis": MATRIX[:, INDEX],
    "gather_two_axes": MATRIX[INDEX, INDEX],
    "gather_mixed": MATRIX[INDEX, [0, 1, 2, 0, 1, 2]],
    "gather_apart": MATRIX[None][[0, 0], :, [1, 2]],
    "gather_new_axis": MATRIX[INDEX[:, None], [0, 2]],
    "gather_negative": VECTOR[INDEX - 3],
    "mask": VECTOR[np.array([True, False, True, True])],
    "mask_rows": MATRIX[np.array([True, False, True, True])],
    "take_along_axis": pt.take_along_axis(MATRIX, INDEX[:3][None], axis=0),
    "set_row": pt.set_subtensor(MATRIX[1], VECTOR[:3]),
    "set_slice": pt.set_subtensor(MATRIX[::2, 1:], SCALAR),
    "set_constant_buffer": pt.set_subtensor(pt.zeros(4)[1:], VECTOR[1:]),
    "set_mask": pt.set_subtensor(VECTOR[np.array([True, False, True, True])], 7.0),
    "increment_duplicates": pt.inc_subtensor(VECTOR[[0, 0, 2]], 1.0),
    "increment_random": pt.inc_subtensor(VECTOR[INDEX], 1.0),
    "diff": pt.diff(VECTOR),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


@pytest.mark.parametrize("name", ["gather_both"])
def test_gradients(name):
    check_gradient(EXPRESSIONS[name])
