"""Products, factors and solutions, against PyTensor one data set at a time."""

import numpy as np
import pytensor.tensor as pt
import pytest

from tests.graph.expressions import (
    MATRIX,
    SYMMETRIC,
    TABLE,
    VECTOR,
    check_batch,
    check_gradient,
)

pytestmark = pytest.mark.usefixtures("interpreted")

EXPRESSIONS = {
    "dot_mv": pt.dot(MATRIX.T, VECTOR),
    "dot_vm": pt.dot(VECTOR, MATRIX),
    "dot_vv": pt.dot(VECTOR, VECTOR),
    "dot_constant": pt.dot(np.ones((2, 4)), MATRIX) + pt.dot(np.ones((2, 4)), VECTOR)[:, None],
    "matmul": pt.matmul(MATRIX[None], TABLE),
    "cholesky": pt.linalg.cholesky(SYMMETRIC),
    "solve": pt.linalg.solve(SYMMETRIC, MATRIX[0], assume_a="gen"),
    "inverse": pt.linalg.inv(SYMMETRIC) + pt.linalg.det(SYMMETRIC),
    "diagonal": pt.diagonal(MATRIX) + pt.linalg.trace(SYMMETRIC),
    "outer": pt.outer(VECTOR, VECTOR),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


@pytest.mark.parametrize("name", ["cholesky"])
def test_gradients(name):
    check_gradient(EXPRESSIONS[name])
