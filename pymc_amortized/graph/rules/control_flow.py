"""The batched torch rule for ``pytensor.scan``: one Python loop over time, for all data sets."""

from collections.abc import Sequence

import numpy as np
import torch

from pymc.logprob.utils import CheckParameterValue
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.raise_op import CheckAndRaise
from pytensor.scan.op import Scan
from torch import Tensor

from pymc_amortized.compat import op_class
from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.interpreter import (
    BatchedGraph,
    Rule,
    Run,
    Value,
    batch_rule,
)

__all__ = ["nested_rule"]


@batch_rule.register(Scan)
def _scan(op: Scan, node: Apply) -> Rule:
    info = op.info
    if info.n_mit_mot:
        raise UnconvertibleOpError(str(op), "it is the gradient of another scan")
    step = BatchedGraph(op.inner_inputs, op.inner_outputs)
    taps = [*info.mit_sot_in_slices, *info.sit_sot_in_slices]

    def rule(run: Run, *outer: Value) -> Value | tuple[Value, ...]:
        num_steps = int(outer[0])
        sequences = op.outer_seqs(outer)
        buffers = [*op.outer_mitsot(outer), *op.outer_sitsot(outer)]
        states = [_initial(buffer, t) for buffer, t in zip(buffers, taps, strict=True)]
        untraced = list(op.outer_untraced_sit_sot(outer))
        constants = op.outer_non_seqs(outer)
        collected: list[list[Value]] = [[] for _ in op.outer_nitsot(outer)]
        for time in range(num_steps):
            inputs = [_take_step(sequence, time) for sequence in sequences]
            for state, offsets in zip(states, taps, strict=True):
                first = -min(offsets)
                inputs.extend(state[time + first + offset] for offset in offsets)
            outputs = step.evaluate(run, [*inputs, *untraced, *constants])
            if info.as_while:
                *outputs, stop = outputs
            new_states = outputs[: len(states)]
            others = outputs[len(states) : len(states) + len(collected)]
            untraced = outputs[len(states) + len(collected) :]
            for history, value in zip([*states, *collected], [*new_states, *others], strict=True):
                history.append(value)
            if info.as_while and _stops(op, stop):
                break
        traced = [_tail(run, s, buffer) for s, buffer in zip(states, buffers, strict=True)]
        results = (*traced, *(_stack(run, values) for values in collected), *untraced)
        return results if len(results) > 1 else results[0]

    return rule


def _initial(buffer: Value, offsets: Sequence[int]) -> list[Value]:
    return [_take_step(buffer, position) for position in range(-min(offsets))]


def _take_step(sequence: Value, time: int) -> Value:
    return sequence[:, time] if isinstance(sequence, Tensor) else np.asarray(sequence[time])


def _stack(run: Run, values: Sequence[Value]) -> Value:
    if any(isinstance(value, Tensor) for value in values):
        return torch.stack([run.expand(value) for value in values], dim=1)
    return np.stack(values)


def _tail(run: Run, values: Sequence[Value], buffer: Value) -> Value:
    """Keep as many of the last states as the graph has room for."""
    length = buffer.shape[1] if isinstance(buffer, Tensor) else buffer.shape[0]
    return _stack(run, values[-length:])


def _stops(op: Scan, stop: Value) -> bool:
    if isinstance(stop, Tensor):
        raise UnconvertibleOpError(str(op), "it ends at a time that depends on a random draw")
    return bool(stop)


@batch_rule.register(op_class("IfElse"))
def _if_else(op: Op, node: Apply) -> Rule:
    def rule(run: Run, condition: Value, *branches: Value) -> Value | tuple[Value, ...]:
        pairs = zip(branches[: op.n_outs], branches[op.n_outs :], strict=True)
        if isinstance(condition, Tensor):
            chosen = [
                torch.where(_align(condition.bool(), run.lift(a)), run.lift(a), run.lift(b))
                for a, b in pairs
            ]
        else:
            chosen = [a if condition else b for a, b in pairs]
        return tuple(chosen) if op.n_outs > 1 else chosen[0]

    return rule


@batch_rule.register(CheckParameterValue)
def _check_parameter(op: CheckParameterValue, node: Apply) -> Rule:
    """Make the log density -inf where a parameter is outside of its range, as PyMC does."""

    def rule(run: Run, x: Value, *conditions: Value) -> Value:
        x = run.lift(x)
        for condition in conditions:
            if isinstance(condition, Tensor) or not np.all(condition):
                holds = _align(run.lift(condition).bool(), x)
                # To ask costs less than a sweep over all of x, but on a GPU would wait for it.
                if x.device.type != "cpu" or not bool(holds.all()):
                    x = torch.where(holds, x, -torch.inf)
        return x

    return rule


@batch_rule.register(CheckAndRaise)
def _check(op: CheckAndRaise, node: Apply) -> Rule:
    def rule(run: Run, x: Value, *conditions: Value) -> Value:
        for condition in conditions:
            if not bool(condition.all()):
                raise op.exc_type(op.msg)
        return x

    return rule


def _align(condition: Tensor, x: Tensor) -> Tensor:
    """Give one condition per data set the number of axes that ``x`` has."""
    return condition.reshape(*condition.shape, *(1,) * (x.ndim - condition.ndim))


@batch_rule.register(OpFromGraph)
def nested_rule(op: OpFromGraph, node: Apply) -> Rule:
    """Evaluate the inner graph as a part of the outer one."""
    graph = BatchedGraph(op.inner_inputs, op.inner_outputs)

    def rule(run: Run, *values: Value) -> Value | tuple[Value, ...]:
        outputs = graph.evaluate(run, values)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return rule
