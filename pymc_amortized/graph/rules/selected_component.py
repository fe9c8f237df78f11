"""The random variable of a mixture whose indicator is known: the component that it selects.

``pm.Mixture`` draws every component for every unit and keeps one of them. Once the indicator is
explicit, only the selected component needs to be drawn.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pytensor.tensor as pt
import torch

from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.basic import Apply, Variable
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType
from torch import Tensor

from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
    torch_dtype,
)
from pymc_amortized.graph.samplers import Sampler, sampler

__all__ = ["SelectedComponentRV", "select_component", "selected_parts"]


class SelectedComponentRV(SymbolicRandomVariable):
    """Draw, for each unit, from the component that the unit's indicator selects.

    The inputs are the indicator, and then the inputs of every component's own node, one after the
    other. ``components`` holds those nodes as templates.
    """

    default_output = 0
    _print_name = ("SelectedComponent", "\\operatorname{SelectedComponent}")
    fingerprint_name = "pymc_amortized.compile.selection.SelectedComponentRV"

    def __init__(self, *args, components: Sequence[Apply], ndim_supp: int, **kwargs) -> None:  # noqa: ANN002, ANN003
        self.components = tuple(components)
        self._ndim_supp = ndim_supp
        super().__init__(*args, **kwargs)

    def update(self, node: Apply) -> dict[Variable, Variable]:
        """Return the generators after a draw, as PyTensor asks of random operations."""
        generators = [v for v in node.inputs if isinstance(v.type, RandomType)]
        return dict(zip(generators, node.outputs[1:], strict=True))


def select_component(indicator: Variable, components: Sequence[Variable]) -> Variable:
    """Return the variable that draws the selected component of each unit.

    Parameters
    ----------
    indicator : Variable, shape (*units)
        The component of each unit.
    components : sequence of Variable
        One variable (*units, *event) per component, or a single variable
        (*units, components, *event), as in ``pm.Mixture``.
    """
    nodes = [component.owner for component in components]
    outer = [variable for node in nodes for variable in node.inputs]
    inner_indicator = indicator.type()
    inner = [variable.type() for variable in outer]
    ends = list(accumulate(len(node.inputs) for node in nodes))
    copies = [
        node.clone_with_new_inputs(inner[end - len(node.inputs) : end])
        for node, end in zip(nodes, ends, strict=True)
    ]
    drawn = [
        copy.outputs[node.outputs.index(component)]
        for copy, node, component in zip(copies, nodes, components, strict=True)
    ]
    ndim_supp = nodes[0].op.ndim_supp
    axis = -ndim_supp - 1
    stacked = drawn[0] if len(drawn) == 1 else pt.stack(drawn, axis=axis)
    index = pt.shape_padright(inner_indicator, ndim_supp + 1)
    selected = pt.squeeze(pt.take_along_axis(stacked, index, axis=axis), axis=axis)
    updates = [
        variable
        for copy in copies
        for variable in copy.op.update(copy).values()
        if isinstance(variable.type, RandomType)
    ]
    op = SelectedComponentRV(
        inputs=[inner_indicator, *inner],
        outputs=[selected, *updates],
        components=nodes,
        ndim_supp=ndim_supp,
    )
    return op.make_node(indicator, *outer).outputs[0]


def selected_parts(variable: Variable) -> tuple[Variable, list[Variable]]:
    """Return the indicator and the components of a variable of :func:`select_component`."""
    indicator, *outer = variable.owner.inputs
    components, start = [], 0
    for template in variable.owner.op.components:
        end = start + len(template.inputs)
        copy = template.clone_with_new_inputs(outer[start:end])
        components.append(copy.default_output())
        start = end
    return indicator, components


@batch_rule.register(SelectedComponentRV)
def _selected_component_rule(op: SelectedComponentRV, node: Apply) -> Rule:
    num_outputs = len(node.outputs)
    dtype = torch_dtype(node.outputs[0].type.dtype)
    parts = [_Component(template) for template in op.components]
    single = len(parts) == 1

    def rule(run: Run, indicator: Value, *values: Value) -> tuple[Tensor | None, ...] | Tensor:
        indicator = run.expand(indicator)
        start = 0
        drawn: Tensor | None = None
        for component, part in enumerate(parts):
            inputs = values[start : start + part.num_inputs]
            start += part.num_inputs
            if single:
                drawn = part.draw_along_axis(run, indicator, inputs).to(dtype)
            else:
                drawn = part.draw_where(run, indicator == component, inputs, drawn, dtype)
        return (drawn, *(None,) * (num_outputs - 1)) if num_outputs > 1 else drawn

    return rule


class _Component:
    """How to draw from one component distribution, for selected units only where possible."""

    def __init__(self, template: Apply) -> None:
        self.op = template.op
        self.num_inputs = len(template.inputs)
        self.output = template.outputs.index(template.default_output())
        self.rule: Rule | None = None
        self.sampler: Sampler | None = None
        if isinstance(self.op, RandomVariable):
            self.sampler = sampler(self.op)
        else:
            self.rule = batch_rule(self.op, template)

    def draw_along_axis(self, run: Run, indicator: Tensor, inputs: Sequence[Value]) -> Tensor:
        """Draw from a component that has an axis of components, selected by the indicator."""
        if self.sampler is None:
            everything = self._draw_everything(run, inputs)
            return _take(everything, indicator, self.op.ndim_supp)
        parameters = [
            _take(run.lift(value), indicator, ndim)
            for value, ndim in zip(inputs[2:], self.op.ndims_params, strict=True)
        ]
        return self.sampler(run.generator, tuple(indicator.shape), *parameters)

    def _draw_everything(self, run: Run, inputs: Sequence[Value]) -> Tensor:
        result = self.rule(run, *inputs)
        return run.expand(result[self.output] if isinstance(result, tuple) else result)

    def draw_where(
        self,
        run: Run,
        chosen: Tensor,
        inputs: Sequence[Value],
        drawn: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Fill in the units (B, *units) for which this component is chosen."""
        if self.sampler is None:
            everything = self._draw_everything(run, inputs).to(dtype)
            if drawn is None:
                return everything.expand(*chosen.shape, *_event(everything, self.op.ndim_supp))
            mask = chosen.reshape(*chosen.shape, *(1,) * self.op.ndim_supp)
            return torch.where(mask, everything, drawn)
        parameters = [
            _units(run.lift(value), chosen.shape, ndim)[chosen]
            for value, ndim in zip(inputs[2:], self.op.ndims_params, strict=True)
        ]
        draws = self.sampler(run.generator, (int(chosen.sum()),), *parameters).to(dtype)
        if drawn is None:
            drawn = torch.zeros((*chosen.shape, *draws.shape[1:]), dtype=dtype, device=run.device)
        mask = chosen.reshape(*chosen.shape, *(1,) * self.op.ndim_supp)
        return drawn.masked_scatter(mask, draws)


def _event(x: Tensor, ndim: int) -> tuple[int, ...]:
    return tuple(x.shape[x.ndim - ndim :])


def _units(x: Tensor, shape: Sequence[int], core_ndim: int) -> Tensor:
    """Expand a parameter (b, *units or 1s, *core) to (B, *units, *core), without copying."""
    core = _event(x, core_ndim)
    missing = len(shape) + core_ndim - x.ndim
    return x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:]).expand(*shape, *core)


def _take(x: Tensor, indicator: Tensor, core_ndim: int) -> Tensor:
    """Select along the axis of components of (b, *units or 1s, K, *core)."""
    core = _event(x, core_ndim)
    lead = x.shape[1 : x.ndim - core_ndim - 1]
    if x.ndim == core_ndim + 1 or x.shape[x.ndim - core_ndim - 1] == 1:
        # One value for all components.
        shared = x if x.ndim == core_ndim + 1 else x.squeeze(x.ndim - core_ndim - 1)
        missing = indicator.ndim + core_ndim - shared.ndim
        return shared.reshape(shared.shape[0], *(1,) * missing, *shared.shape[1:])
    size = x.shape[x.ndim - core_ndim - 1]
    if int(np.prod(lead)) == 1:
        flat = x.reshape(x.shape[0], size, *core).expand(indicator.shape[0], size, *core)
        index = indicator.reshape(indicator.shape[0], -1, *(1,) * core_ndim)
        taken = flat.gather(1, index.expand(*index.shape[:2], *core))
        return taken.reshape(*indicator.shape, *core)
    spread = _units(x, indicator.shape, core_ndim + 1)
    index = indicator.reshape(*indicator.shape, *(1,) * (core_ndim + 1))
    return torch.take_along_dim(spread, index, dim=indicator.ndim).squeeze(indicator.ndim)
