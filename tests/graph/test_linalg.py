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

EIGHTHS = np.arange(8).reshape(2, 4) / 8
FACTOR = pt.linalg.cholesky(SYMMETRIC)
BY_ROWS = {"lower": True, "b_ndim": 1}
EXPRESSIONS = {
    "dot_mv": pt.dot(MATRIX.T, VECTOR),
    "dot_vm": pt.dot(VECTOR, MATRIX),
    "dot_vv": pt.dot(VECTOR, VECTOR),
    "dot_constant": pt.dot(EIGHTHS, MATRIX) + pt.dot(EIGHTHS, VECTOR)[:, None],
    "matmul": pt.matmul(MATRIX[None], TABLE),
    "cholesky": pt.linalg.cholesky(SYMMETRIC),
    "solve": pt.linalg.solve(SYMMETRIC, MATRIX[0], assume_a="gen"),
    "inverse": pt.linalg.inv(SYMMETRIC) + pt.linalg.det(SYMMETRIC),
    "diagonal": pt.diagonal(MATRIX) + pt.linalg.trace(SYMMETRIC),
    "outer": pt.outer(VECTOR, VECTOR),
    "one_triangle_for_all": pt.linalg.solve_triangular(FACTOR[None], MATRIX, **BY_ROWS),
    "one_triangle_for_tables": pt.linalg.solve_triangular(
        FACTOR.T[None, None], VECTOR[:, None, None] * MATRIX[None], lower=False, b_ndim=1
    ),
    "columns_of_tables": pt.linalg.solve_triangular(
        FACTOR[None], VECTOR[:, None, None] * TABLE[None], lower=True, b_ndim=2
    ),
    "a_triangle_for_each": pt.linalg.solve_triangular(
        VECTOR[:, None, None] * FACTOR[None], MATRIX, **BY_ROWS
    ),
    "as_many_triangles_as_sides": pt.linalg.solve_triangular(
        (VECTOR[:, None, None] * FACTOR[None])[:, None],
        MATRIX[:, None] * VECTOR[None, :, None],
        **BY_ROWS,
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


@pytest.mark.parametrize(
    "name", ["cholesky", "dot_constant", *(n for n in EXPRESSIONS if "triangle" in n)]
)
def test_gradients(name):
    check_gradient(EXPRESSIONS[name])
