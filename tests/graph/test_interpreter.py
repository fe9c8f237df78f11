"""The graph interpreter: every rule against PyTensor, one data set at a time."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from pytensor.graph.op import Op

from pymc_amortized.compat import reference_mode
from pymc_amortized.errors import BackendFallbackWarning, UnconvertibleOpError
from pymc_amortized.graph.backend import BatchedGraph, PyTensorGraph, SwitchingGraph

try:
    from pytensor.conditional.op import ifelse
except ImportError:
    from pytensor.ifelse import ifelse

pytestmark = pytest.mark.usefixtures("interpreted")

BATCH = 5
RNG = np.random.default_rng(0)

MATRIX = pt.dmatrix("matrix")
VECTOR = pt.dvector("vector")
INDEX = pt.lvector("index")
SCALAR = pt.dscalar("scalar")
GIVEN = {
    MATRIX: RNG.normal(size=(BATCH, 4, 3)),
    VECTOR: RNG.normal(size=(BATCH, 4)),
    INDEX: RNG.integers(0, 3, size=(BATCH, 6)),
    SCALAR: RNG.normal(size=BATCH),
}
TABLE = RNG.normal(size=(3, 2))
COUNTS = np.array([2, 0, 1])
SYMMETRIC = pt.dot(MATRIX.T, MATRIX) + np.eye(3)

EXPRESSIONS = {
    "arithmetic": 2 * MATRIX + VECTOR[:, None] / 3 - SCALAR**2,
    "integers": INDEX // 2 + INDEX % 2 - 1 / (INDEX + 1),
    "comparison": pt.switch(MATRIX > SCALAR, MATRIX, -1),
    "and_or": pt.and_(MATRIX > 0, MATRIX < 1) | (MATRIX < -1),
    "special": pt.gammaln(pt.exp(MATRIX)) + pt.erf(MATRIX) + pt.softplus(MATRIX),
    "log1mexp": pt.log1mexp(-pt.exp(MATRIX)),
    "sigmoid": pt.sigmoid(MATRIX) + pt.log1p(MATRIX**2) + pt.expm1(SCALAR),
    "clip": pt.clip(MATRIX, -0.5, 0.5) + pt.maximum(MATRIX, SCALAR),
    "rounding": pt.floor(MATRIX) + pt.ceil(MATRIX) + pt.round(MATRIX) + pt.sgn(MATRIX),
    "trigonometry": pt.sin(MATRIX) + pt.arctan(MATRIX) + pt.tanh(MATRIX),
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
    "dot_mv": pt.dot(MATRIX.T, VECTOR),
    "dot_vm": pt.dot(VECTOR, MATRIX),
    "dot_vv": pt.dot(VECTOR, VECTOR),
    "dot_constant": pt.dot(np.ones((2, 4)), MATRIX) + pt.dot(np.ones((2, 4)), VECTOR)[:, None],
    "matmul": pt.matmul(MATRIX[None], TABLE),
    "cholesky": pt.linalg.cholesky(SYMMETRIC),
    "solve": pt.linalg.solve(SYMMETRIC, MATRIX[0], assume_a="gen"),
    "inverse": pt.linalg.inv(SYMMETRIC) + pt.linalg.det(SYMMETRIC),
    "diagonal": pt.diagonal(MATRIX) + pt.linalg.trace(SYMMETRIC),
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
    "outer": pt.outer(VECTOR, VECTOR),
    "ifelse": ifelse(pt.gt(SCALAR, 0), VECTOR, -VECTOR),
}


def one_by_one(expression):
    """PyTensor's own answer for each data set."""
    inputs = list(GIVEN)
    function = pytensor.function(
        inputs, expression, on_unused_input="ignore", mode=reference_mode()
    )
    return np.stack([function(*(GIVEN[v][row] for v in inputs)) for row in range(BATCH)])


def as_tensors():
    return [torch.as_tensor(GIVEN[variable]) for variable in GIVEN]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    expression = EXPRESSIONS[name]
    [result] = BatchedGraph(list(GIVEN), [expression])(as_tensors())
    expected = one_by_one(expression)
    assert result.shape == expected.shape
    assert str(result.dtype).removeprefix("torch.") == expression.type.dtype
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["arithmetic", "gather_both", "log1mexp", "cholesky", "prod"])
def test_gradients(name):
    """Against differences of two sides."""
    expression = EXPRESSIONS[name]
    graph = BatchedGraph(list(GIVEN), [expression])
    tensors = as_tensors()
    tensors[0].requires_grad_()
    [gradient] = torch.autograd.grad(graph(tensors)[0].sum(), tensors[0])
    step = 1e-6
    with torch.no_grad():
        for position in ((0, 0, 0), (3, 2, 1)):
            sides = []
            for sign in (1, -1):
                moved = [t.clone() for t in tensors]
                moved[0][position] += sign * step
                sides.append(float(graph(moved)[0].sum()))
            slope = (sides[0] - sides[1]) / (2 * step)
            assert abs(slope - float(gradient[position])) < 1e-5 * (1 + abs(slope))


def test_a_branch_that_is_not_taken_has_no_gradient():
    """0 times infinity: the gradient of switch(x == 0, a, b * log x) at x = 0."""
    x = pt.dscalar()
    expression = pt.switch(pt.eq(x, 0), SCALAR, SCALAR * pt.log(x))
    value = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    at = torch.tensor([0.0, 2.0], dtype=torch.float64)
    [result] = BatchedGraph([SCALAR, x], [expression])([value, at])
    result.sum().backward()
    torch.testing.assert_close(value.grad, torch.tensor([1.0, np.log(2.0)]).double())


def test_second_derivatives():
    graph = BatchedGraph([SCALAR], [pt.exp(SCALAR) * SCALAR])
    value = torch.tensor([0.3], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda v: graph([v])[0].sum(), value)
    assert abs(float(hessian) - np.exp(0.3) * 2.3) < 1e-12


def test_random_variables_are_drawn_once():
    x = pt.random.normal(size=3, rng=pytensor.shared(np.random.default_rng()))
    x = x[1] if isinstance(x, tuple) else x
    generator = torch.Generator().manual_seed(0)
    first, difference = BatchedGraph([], [x, x - x])([], batch=100, generator=generator)
    assert first.shape == (100, 3)
    assert float(difference.abs().max()) == 0
    assert len(first.unique()) == 300


def test_given_values_are_kept_when_another_output_of_their_node_is_needed():
    """Two draws that share a generator: the first is given, its next generator is needed."""
    rng = pytensor.shared(np.random.default_rng())
    next_rng, first = (
        pt.random.normal(rng=rng, return_next_rng=True)
        if _returns_pair()
        else (pt.random.normal(rng=rng).owner.outputs)
    )
    second = pt.random.normal(first, 1e-9, rng=next_rng)
    second = second[1] if isinstance(second, tuple) else second
    given = torch.arange(10.0, dtype=torch.float64)
    graph = BatchedGraph([first], [first, second])
    kept, drawn = graph([given], generator=torch.Generator().manual_seed(0))
    assert torch.equal(kept, given)
    assert float((drawn - given).abs().max()) < 1e-6


def _returns_pair():
    import inspect

    from pytensor.tensor.random.op import RandomVariable

    return "return_next_rng" in inspect.signature(RandomVariable.__call__).parameters


def test_no_randomness_without_a_generator():
    x = pt.random.normal(rng=pytensor.shared(np.random.default_rng()))
    with pytest.raises(UnconvertibleOpError, match="no randomness is expected"):
        BatchedGraph([], [x])([])


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


class CubeRoot(Op):
    """An operation that nobody converts."""

    def make_node(self, x):
        return pytensor.graph.basic.Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = np.cbrt(inputs[0])


def test_an_operation_that_torch_lacks():
    constant = CubeRoot()(pt.constant(np.array([8.0])))
    [result] = BatchedGraph([SCALAR], [constant * SCALAR])([torch.ones(2, dtype=torch.float64)])
    assert result.tolist() == [[2.0], [2.0]]
    unknown = CubeRoot()(VECTOR)
    with pytest.raises(UnconvertibleOpError, match="CubeRoot"):
        BatchedGraph([VECTOR], [unknown])([torch.ones(2, 4, dtype=torch.float64)])


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_falling_back_to_pytensor():
    graph = SwitchingGraph([VECTOR], [CubeRoot()(VECTOR)], may_switch=True)
    value = torch.tensor([[8.0, 27.0], [1.0, 64.0]], dtype=torch.float64)
    run = {"batch": 2, "device": torch.device("cpu"), "generator": torch.Generator()}
    with pytest.warns(BackendFallbackWarning, match="CubeRoot"):
        [result] = graph([value], **run)
    torch.testing.assert_close(result, torch.tensor([[2.0, 3.0], [1.0, 4.0]]).double())
    [again] = graph([value], **run)
    torch.testing.assert_close(again, result)


def test_the_pytensor_backend_follows_the_seed():
    x = pt.random.normal(SCALAR, 1, size=2, rng=pytensor.shared(np.random.default_rng()))
    x = x[1] if isinstance(x, tuple) else x
    graph = PyTensorGraph([SCALAR], [x])
    value = torch.zeros(3, dtype=torch.float64)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return graph([value], batch=3, device=torch.device("cpu"), generator=generator)[0]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert len(draw(1).unique()) == 6
