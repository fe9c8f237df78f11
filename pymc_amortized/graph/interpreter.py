"""Evaluate a PyTensor graph for a whole batch of data sets at once, in torch.

A PyMC model describes *one* data set. :class:`BatchedGraph` walks its graph node by node and
evaluates each node for B data sets: what depends on a random draw is a torch tensor with a leading
batch axis, what does not stays a NumPy array without one, computed by PyTensor itself. Sizes are
among the latter, so they are plain numbers when they are needed, no rewriting is required, and each
random variable is drawn exactly once however often the graph uses it.

The type of a value is its tag: ``numpy.ndarray`` is unbatched, ``torch.Tensor`` is batched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import torch

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import HasInnerGraph, Op
from pytensor.graph.traversal import io_toposort
from pytensor.link.pytorch.dispatch import pytorch_funcify
from pytensor.tensor.random.op import RNGConsumerOp
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.shape import Shape, Shape_i
from torch import Tensor

from pymc_amortized.errors import UnconvertibleOpError

__all__ = [
    "BatchedGraph",
    "Rule",
    "Run",
    "Value",
    "as_tensor",
    "batch_rule",
    "perform",
    "torch_dtype",
    "unconvertible_op",
]

Value = np.ndarray | Tensor
"""Unbatched (NumPy) or with a leading batch axis (torch)."""

Rule = Callable[..., Any]
"""``rule(run, *values)``: one value, or a sequence of values where the node has several outputs."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one evaluation of a graph shares among its nodes.

    Attributes
    ----------
    batch : int
        Number of data sets, B.
    device : torch.device
        Where batched values live.
    generator : torch.Generator or None
        Source of randomness; None where the graph has no random variable.
    """

    batch: int
    device: torch.device
    generator: torch.Generator | None = None

    def lift(self, value: Value) -> Tensor:
        """Return a tensor with a leading axis of B, or of 1 for what is unbatched."""
        if isinstance(value, Tensor):
            return value
        return as_tensor(value, self.device).unsqueeze(0)

    def expand(self, value: Value) -> Tensor:
        """Return a tensor with a leading axis of B, without copying."""
        lifted = self.lift(value)
        return lifted.expand(self.batch, *lifted.shape[1:])


def as_tensor(value: np.ndarray, device: torch.device) -> Tensor:
    """Share memory with a NumPy array where torch can, copy where it cannot."""
    array = np.asarray(value)
    shareable = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.as_tensor(array if shareable else array.copy(), device=device)


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's type for a PyTensor type name.

    Examples
    --------
    >>> torch_dtype("float64")
    torch.float64
    """
    return getattr(torch, name)


@singledispatch
def batch_rule(op: Op, node: Apply) -> Rule:
    """Return the function that evaluates a node of this op for a batch.

    Register a conversion of your own with ``@batch_rule.register(MyOp)``; see
    ``docs/extending.md``. An operation without one uses PyTensor's torch conversion, mapped over
    the batch by ``torch.vmap``.
    """
    try:
        function = pytorch_funcify(op, node=node)
    except NotImplementedError as error:
        raise UnconvertibleOpError(str(op), "neither we nor PyTensor convert it") from error

    def rule(run: Run, *values: Value) -> Value:
        axes = tuple(0 if isinstance(value, Tensor) else None for value in values)
        tensors = [v if isinstance(v, Tensor) else as_tensor(v, run.device) for v in values]
        try:
            return torch.vmap(function, in_dims=axes)(*tensors)
        except RuntimeError as error:
            raise UnconvertibleOpError(str(op), f"torch cannot batch it: {error}") from error

    return rule


def perform(node: Apply, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Evaluate a node on plain arrays, by PyTensor's own Python implementation.

    Without its preparation an elementwise operation may run in the type of its inputs, in which the
    reciprocal of the integer 2 is 0.
    """
    node.op.prepare_node(node, None, None, "py")
    storage = [[None] for _ in node.outputs]
    node.op.perform(node, list(arrays), storage)
    return [np.asarray(cell[0]) if isinstance(cell[0], np.generic) else cell[0] for cell in storage]


@dataclass(frozen=True, slots=True)
class _Step:
    node: Apply
    rule: Rule
    performs: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    finished: tuple[int, ...] = ()

    def run(self, run: Run, values: list[Value]) -> Sequence[Value]:
        arguments = [values[slot] for slot in self.inputs]
        if self.performs and not any(isinstance(value, Tensor) for value in arguments):
            return perform(self.node, arguments)
        result = self.rule(run, *arguments)
        return result if len(self.outputs) > 1 else (result,)


class BatchedGraph:
    """A PyTensor graph, evaluated in torch for a batch of data sets.

    Parameters
    ----------
    inputs : sequence of Variable
        Variables whose values are given at each call, batched or not. The graph is cut there.
    outputs : sequence of Variable
        Variables to compute.
    evaluated : sequence of Variable, optional
        What is evaluated in their place: the same values, by operations PyTensor need not know.

    Notes
    -----
    An operation that torch lacks raises :class:`UnconvertibleOpError` when it meets a batched
    value. Shared variables (``pm.Data``) are read when the graph is compiled. Intermediate values
    are dropped as soon as nothing needs them, so that peak memory is that of the largest few.

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> x = pt.vector("x")
    >>> graph = BatchedGraph([x], [x.sum() + 1])
    >>> graph([torch.tensor([[1.0, 2.0], [3.0, 4.0]])])[0]
    tensor([4., 8.], dtype=torch.float64)
    """

    def __init__(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        evaluated: Sequence[Variable] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        evaluated = self.outputs if evaluated is None else tuple(evaluated)
        self._slots: dict[Variable, int] = {}
        self._initial: list[Value | None] = []
        for variable in self.inputs:
            self._slot(variable)
        varying = set(self.inputs)
        steps = []
        for node in io_toposort(self.inputs, evaluated):
            for variable in node.inputs:
                self._slot(variable)
            performs = _performs(node)
            slots = tuple(self._slots[variable] for variable in node.inputs)
            targets = tuple(self._target(variable) for variable in node.outputs)
            if performs and varying.isdisjoint(node.inputs):
                folded = perform(node, [self._initial[slot] for slot in slots])
                for target, array in zip(targets, folded, strict=True):
                    self._initial[target] = array
            else:
                varying.update(node.outputs)
                steps.append(_Step(node, _rule_or_refusal(node), performs, slots, targets))
        self._output_slots = tuple(self._slot(variable) for variable in evaluated)
        self._steps = tuple(self._add_lifetimes(steps))

    def __call__(
        self,
        values: Sequence[Value] | Mapping[Variable, Value],
        *,
        batch: int | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> list[Value]:
        """Evaluate the graph.

        Parameters
        ----------
        values : sequence or mapping of Value
            Values of the inputs: tensors (B, *shape), or arrays of the plain shape.
        batch : int, optional
            Number of data sets. Needed only where no input is batched.
        device : torch.device, optional
            Default: that of the first batched input.
        generator : torch.Generator, optional
            Needed where the graph holds random variables.

        Returns
        -------
        list of Value
            One per output: a tensor (B, *shape), or an array where nothing batched led to it.
        """
        if isinstance(values, Mapping):
            values = [values[variable] for variable in self.inputs]
        batched = [value for value in values if isinstance(value, Tensor)]
        if batch is None:
            batch = max((value.shape[0] for value in batched), default=1)
        if device is None:
            device = batched[0].device if batched else "cpu"
        return self.evaluate(Run(batch, torch.device(device), generator), values)

    def evaluate(self, run: Run, values: Sequence[Value]) -> list[Value]:
        """Evaluate the graph as a part of a larger run."""
        slots = list(self._initial)
        slots[: len(self.inputs)] = values
        for step in self._steps:
            for slot, value in zip(step.outputs, step.run(run, slots), strict=True):
                slots[slot] = value
            for slot in step.finished:
                slots[slot] = None
        return [slots[slot] for slot in self._output_slots]

    def _slot(self, variable: Variable) -> int:
        if variable not in self._slots:
            self._slots[variable] = len(self._initial)
            self._initial.append(_find_fixed_value(variable))
        return self._slots[variable]

    def _target(self, variable: Variable) -> int:
        """Return where a result goes: nowhere that is read, if its value is given as an input.

        Such a node is evaluated for the sake of another of its outputs.
        """
        if variable not in self.inputs:
            return self._slot(variable)
        self._initial.append(None)
        return len(self._initial) - 1

    def _add_lifetimes(self, steps: list[_Step]) -> list[_Step]:
        last_use: dict[int, int] = {}
        for index, step in enumerate(steps):
            last_use.update(dict.fromkeys((*step.inputs, *step.outputs), index))
        finished: list[list[int]] = [[] for _ in steps]
        for slot, index in last_use.items():
            if slot not in self._output_slots:
                finished[index].append(slot)
        return [replace(step, finished=tuple(f)) for step, f in zip(steps, finished, strict=True)]


def unconvertible_op(outputs: Sequence[Variable]) -> UnconvertibleOpError | None:
    """Return the first reason why a graph cannot be evaluated for a batch, without evaluating it.

    What depends on constants and sizes alone is left to PyTensor, and so does not count.
    """
    varying: set[Variable] = set()
    for node in io_toposort([], outputs):
        roots = (v for v in node.inputs if v.owner is None and not isinstance(v, Constant))
        varying.update(v for v in roots if not isinstance(v, SharedVariable))
        if isinstance(node.op, Shape | Shape_i) or varying.isdisjoint(node.inputs):
            continue
        varying.update(node.outputs)
        try:
            batch_rule(node.op, node)
        except UnconvertibleOpError as error:
            return error
    return None


def _rule_or_refusal(node: Apply) -> Rule:
    """Refuse an operation only when it meets a batched value: sizes and constants never do."""
    try:
        return batch_rule(node.op, node)
    except UnconvertibleOpError as error:
        refusal = error

    def refuse(run: Run, *values: Value) -> Value:
        raise UnconvertibleOpError(refusal.op_name, refusal.reason)

    return refuse


def _performs(node: Apply) -> bool:
    """Whether PyTensor can evaluate the node on plain arrays, cheaply and without randomness."""
    random = any(isinstance(variable.type, RandomType) for variable in node.inputs)
    return not (random or isinstance(node.op, HasInnerGraph | RNGConsumerOp))


def _find_fixed_value(variable: Variable) -> Any:
    if isinstance(variable.type, RandomType):
        return None
    if isinstance(variable, Constant):
        return variable.data
    if isinstance(variable, SharedVariable):
        return np.array(variable.get_value(borrow=True))
    return None
