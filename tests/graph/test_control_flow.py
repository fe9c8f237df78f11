"""Branches and loops, against PyTensor one data set at a time."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from pymc_amortized.graph.backend import BatchedGraph
from tests.graph.expressions import (
    GIVEN,
    SCALAR,
    VECTOR,
    as_tensors,
    check_batch,
    one_by_one,
)

try:
    from pytensor.conditional.op import ifelse
except ImportError:
    from pytensor.ifelse import ifelse

pytestmark = pytest.mark.usefixtures("interpreted")

EXPRESSIONS = {
    "ifelse": ifelse(pt.gt(SCALAR, 0), VECTOR, -VECTOR),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


def test_scan_against_pytensor():
    def step(coefficient, before, scale):
        return coefficient * before + scale

    states = pytensor.scan(
        step,
        sequences=VECTOR,
        outputs_info=SCALAR,
        non_sequences=np.float64(0.5),
        return_updates=False,
    )
    [result] = BatchedGraph(list(GIVEN), [states])(as_tensors())
    np.testing.assert_allclose(result.numpy(), one_by_one(states), rtol=1e-12)
