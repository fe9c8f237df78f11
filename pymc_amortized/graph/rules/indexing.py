"""Batched torch rules for indexing: NumPy decides *where*, torch moves the values.

NumPy's indexing (slices, new axes, integer and Boolean arrays, and their mixtures) is applied to an
array of *positions* into the flattened data set; the same positions are then gathered from, or
scattered into, every data set of the batch. Indices that are themselves random, as in ``mu[z]``,
add their own contribution to the positions.
"""

import math

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
    indices_from_subtensor,
)
from torch import Tensor

from pymc_amortized.compat import one_index_ops
from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    as_tensor,
    batch_rule,
    torch_dtype,
)
from pymc_amortized.graph.repeats import repeated

__all__: list[str] = []


def _entries(op: Op, flat: Sequence[Value]) -> list[Any]:
    """Return what stood between the brackets: slices, None, integers, arrays, tensors."""
    if hasattr(op, "idx_list"):
        return [_plain(entry) for entry in indices_from_subtensor(list(flat), op.idx_list)]
    return [_plain(entry) for entry in flat]


def _plain(entry: Any) -> Any:
    if isinstance(entry, slice):
        return slice(*(_bound(bound) for bound in (entry.start, entry.stop, entry.step)))
    if isinstance(entry, np.ndarray) and entry.ndim == 0 and entry.dtype != bool:
        return int(entry)
    return entry


def _bound(bound: Any) -> int | None:
    if isinstance(bound, Tensor):
        raise UnconvertibleOpError("Subtensor", "the bound of a slice depends on a random draw")
    return None if bound is None else int(bound)


def _is_view(entry: Any) -> bool:
    """Whether torch can take the entry as a view of the data."""
    if isinstance(entry, slice):
        return entry.step is None or entry.step > 0
    return isinstance(entry, int) or entry is None


def _positions(shape: Sequence[int], entries: Sequence[Any], run: Run) -> Tensor:
    """Return flat positions (B or 1, *selected) of the entries in an array of a shape."""
    random = [i for i, entry in enumerate(entries) if isinstance(entry, Tensor)]
    stand_ins = list(entries)
    for i in random:
        if entries[i].dtype == torch.bool:
            raise UnconvertibleOpError("AdvancedSubtensor", "a Boolean mask depends on a draw")
        stand_ins[i] = np.zeros(entries[i].shape[1:], dtype=np.int64)
    base = np.arange(math.prod(shape)).reshape(shape)[tuple(stand_ins)]
    positions = as_tensor(base, run.device).unsqueeze(0)
    for i in random:
        axis = _axis_of_entry(entries, i)
        indices = entries[i].long()
        indices = torch.where(indices < 0, indices + shape[axis], indices)
        source = _source_elements(shape, stand_ins, i, axis)
        if not np.array_equal(source.ravel(), np.arange(source.size)):
            indices = _flat(indices)[:, as_tensor(source.ravel(), run.device)]
        spread = indices.reshape(-1, *source.shape)
        positions = positions + spread * math.prod(shape[axis + 1 :])
    return positions


def _axis_of_entry(entries: Sequence[Any], i: int) -> int:
    def consumed(entry: Any) -> int:
        if isinstance(entry, np.ndarray) and entry.dtype == bool:
            return entry.ndim
        return int(entry is not None)

    return sum(consumed(entry) for entry in entries[:i])


def _source_elements(shape: Sequence[int], stand_ins: list[Any], i: int, axis: int) -> np.ndarray:
    """For each selected value, which element of the i-th index array selected it."""
    size = stand_ins[i].size
    numbered = np.arange(size).reshape(size, *(1,) * (len(shape) - axis - 1))
    stretched = np.broadcast_to(numbered, (*shape[:axis], size, *shape[axis + 1 :]))
    marked = list(stand_ins)
    marked[i] = np.arange(size).reshape(stand_ins[i].shape)
    return stretched[tuple(marked)]


def _takes_rows(entries: Sequence[Any]) -> bool:
    """Whether integers that depend on a draw select along the first axis, as in ``mu[z]``."""
    first, *rest = entries
    whole = all(isinstance(entry, slice) and entry == slice(None) for entry in rest)
    return isinstance(first, Tensor) and first.dtype != torch.bool and whole


def _take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return x[b, index[b]] (B, *selected, *others) for x (B, K, *others)."""
    index = index.long().expand(len(x), *index.shape[1:])
    rows = _flat(torch.where(index < 0, index + x.shape[1], index))
    others = (1,) * (x.ndim - 2)
    selected = x.gather(1, rows.reshape(*rows.shape, *others).expand(*rows.shape, *x.shape[2:]))
    return selected.reshape(*index.shape, *x.shape[2:])


def _without_repeats(positions: Tensor) -> Tensor:
    """Return positions with length 1 along each axis along which they are all the same."""
    for axis in range(1, positions.ndim):
        first = positions.narrow(axis, 0, min(1, positions.shape[axis]))
        if positions.shape[axis] > 1 and bool((positions == first).all()):
            positions = first
    return positions


def _flat(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1)


@batch_rule.register(Subtensor)
@batch_rule.register(AdvancedSubtensor)
def _subtensor(op: Subtensor | AdvancedSubtensor, node: Apply) -> Rule:
    def rule(run: Run, x: Value, *flat: Value) -> Tensor:
        entries = _entries(op, flat)
        if all(_is_view(entry) for entry in entries):
            return x[(slice(None), *entries)]
        if _takes_rows(entries):
            return _take_rows(run.expand(x), entries[0])
        shape = x.shape[1:] if isinstance(x, Tensor) else x.shape
        positions = _positions(shape, entries, run)
        if positions.shape[0] == 1:
            different = _without_repeats(positions)
            selected = _flat(run.lift(x))[:, different.flatten()]
            selected = selected.reshape(len(selected), *different.shape[1:])
            return repeated(selected, (len(selected), *positions.shape[1:]))
        data = _flat(run.expand(x))
        return data.gather(1, _flat(positions)).reshape(positions.shape)

    return rule


@batch_rule.register(IncSubtensor)
@batch_rule.register(AdvancedIncSubtensor)
def _increment(op: IncSubtensor | AdvancedIncSubtensor, node: Apply) -> Rule:
    dtype = torch_dtype(node.outputs[0].type.dtype)
    unique = getattr(op, "ignore_duplicates", False)

    def rule(run: Run, x: Value, y: Value, *flat: Value) -> Tensor:
        data = run.expand(x)
        shape = data.shape[1:]
        positions = _positions(shape, _entries(op, flat), run)
        selected = positions.shape[1:]
        positions = _flat(positions.expand(run.batch, *selected))
        values = run.expand(y).to(dtype)
        values = values.reshape(
            run.batch, *(1,) * (len(selected) + 1 - values.ndim), *values.shape[1:]
        )
        values = _flat(values.expand(run.batch, *selected))
        flat_data = _flat(data.to(dtype))
        if op.set_instead_of_inc:
            result = flat_data.scatter(1, positions, values)
        elif unique:
            result = flat_data.scatter(1, positions, flat_data.gather(1, positions) + values)
        else:
            result = flat_data.scatter_add(1, positions, values)
        return result.reshape(run.batch, *shape)

    return rule


for _op_class in one_index_ops():
    batch_rule.register(_op_class, _increment if "Inc" in _op_class.__name__ else _subtensor)
