"""What differs between generations, each in one function."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray

from pytensor.compile.builders import OpFromGraph

from pymc_amortized.compat import (
    groups_of_result,
    inline,
    op_class,
    own_axis,
    reference_mode,
    result_of_groups,
)


def test_a_result_and_its_groups_are_two_views_of_the_same():
    posterior = xarray.Dataset({"mu": (("chain", "draw"), np.arange(6.0).reshape(2, 3))})
    stats = xarray.Dataset({"lp": (("chain", "draw"), np.zeros((2, 3)))})
    result = result_of_groups({"posterior": posterior, "sample_stats": stats})
    groups = groups_of_result(result)
    assert list(groups) == ["posterior", "sample_stats"]
    xarray.testing.assert_equal(groups["posterior"], posterior)
    assert float(result["posterior"]["mu"].sum()) == 15.0


@pytest.mark.parametrize("thing", [None, 3, {"posterior": 1}, np.zeros(3)])
def test_what_is_no_result_has_no_groups(thing):
    assert groups_of_result(thing) is None


@pytest.mark.usefixtures("interpreted")
def test_an_inner_graph_is_taken_out():
    x, y = pt.dscalar(), pt.dscalar()
    op = OpFromGraph([x, y], [x * y + 1])
    a, b = pt.dscalar(), pt.dscalar()
    [result] = inline(op, [a, b])
    assert not isinstance(result.owner.op, OpFromGraph)
    assert float(pytensor.function([a, b], result)(3.0, 4.0)) == 13.0


def test_operations_are_found_wherever_they_live():
    x = pt.dmatrix()
    assert isinstance(pt.linalg.det(x).owner.op.core_op, op_class("Det"))
    assert not isinstance(pt.linalg.inv(x).owner.op.core_op, op_class("Det"))
    with pytest.raises((ImportError, KeyError), match="NoSuchOperation"):
        op_class("NoSuchOperation")


@pytest.mark.parametrize("axis", [0, 1])
def test_the_axis_of_a_join_is_its_own_or_its_first_input(axis):
    x = pt.dmatrix()
    node = pt.concatenate([x, x], axis=axis).owner
    own = own_axis(node.op)
    assert (int(node.inputs[0].data) if own is None else own) == axis


@pytest.mark.usefixtures("interpreted")
def test_reference_computations_keep_densities_stable():
    """log(1 + exp(x)) at 1,000 is infinite, unless it is rewritten."""
    x = pt.dscalar()
    value = pytensor.function([x], pt.log(1 + pt.exp(x)), mode=reference_mode())(1_000.0)
    assert float(value) == 1_000.0
    assert np.isfinite(pm.logp(pm.Normal.dist(0, 1), 1e3).eval(mode=reference_mode()))
