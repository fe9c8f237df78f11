"""Shapes, joins, reductions and orders, against PyTensor one data set at a time."""

import numpy as np
import pytensor.tensor as pt
import pytest

from tests.graph.expressions import (
    MATRIX,
    SCALAR,
    VECTOR,
    check_batch,
    check_gradient,
)

pytestmark = pytest.mark.usefixtures("interpreted")

EXPRESSIONS = {
    "sum": MATRIX.sum(0),
    "sum_all": MATRIX.sum(),
    "sum_axes": (MATRIX[None] * 2).sum((0, 2)),
    "prod": MATRIX.prod(1),
    "extremes": pt.max(MATRIX, 0) - pt.min(MATRIX, axis=0),
    "all_any": pt.all(MATRIX > -9, 0) & pt.any(MATRIX > 0, 0),
    "argmax": pt.argmax(MATRIX, axis=1),
    "mean_std": MATRIX.mean(0) + MATRIX.std(0) + pt.var(MATRIX),
    "logsumexp": pt.logsumexp(MATRIX, axis=-1),
    "softmax": pt.special.softmax(MATRIX, axis=-1) + pt.special.log_softmax(MATRIX, axis=0),
    "cumsum": pt.cumsum(MATRIX, axis=0) + pt.cumprod(MATRIX, axis=1),
    "sort": pt.sort(MATRIX, axis=0) + pt.argsort(VECTOR)[:, None],
    "transpose": MATRIX.T[:, None, :] + VECTOR,
    "reshape": MATRIX.reshape((3, 4)) * VECTOR,
    "reshape_minus_one": MATRIX.reshape((2, -1)),
    "flatten": MATRIX.flatten() + SCALAR,
    "stack": pt.stack([SCALAR, SCALAR + 1, 2.0]) + MATRIX,
    "concatenate": pt.concatenate([MATRIX, np.ones((1, 3)), VECTOR[None, :3]], axis=0),
    "split": pt.concatenate(pt.split(VECTOR, [1, 3], n_splits=2)[::-1]),
    "repeat": pt.repeat(VECTOR, 3) + pt.repeat(SCALAR[None], 12),
    "tile": pt.tile(VECTOR, 2),
    "full": pt.full((3, 2), SCALAR) + pt.zeros((2,)),
    "zeros_like": pt.zeros_like(MATRIX),
    "ones_like_sum": pt.ones_like(MATRIX).sum() + pt.cumsum(pt.ones_like(VECTOR)),
    "fill_scalar": pt.fill(VECTOR, SCALAR),
    "stack_zeros_like": pt.stack([pt.zeros_like(VECTOR), VECTOR], axis=1),
    "logsumexp_zeros": pt.logsumexp(pt.zeros_like(MATRIX), axis=1),
    "softmax_all": pt.special.softmax(MATRIX, axis=None),
    "softmax_vector": pt.special.log_softmax(VECTOR, axis=None),
    "shape": MATRIX / MATRIX.shape[0] + MATRIX.size,
    "arange": pt.arange(MATRIX.shape[0]) * VECTOR,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


@pytest.mark.parametrize("name", ["prod"])
def test_gradients(name):
    check_gradient(EXPRESSIONS[name])
