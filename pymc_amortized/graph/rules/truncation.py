"""The batched rule for ``pm.Truncated``: rejection, repeated for those draws alone that need it.

Discrete draws that are hardly ever between the bounds, such as those above 0 of a Poisson variable
of rate 1e-6, come from a table of probabilities instead, which begins at the likelier bound.
"""

import pymc as pm
import pytensor.tensor as pt
import torch

from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Apply
from pytensor.tensor.random.op import RandomVariable
from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.interpreter import (
    BatchedGraph,
    Rule,
    Run,
    Value,
    batch_rule,
    torch_dtype,
)
from pymc_amortized.graph.rules.control_flow import nested_rule
from pymc_amortized.graph.samplers import Sampler, align_parameters, sampler
from pymc_amortized.memory import MEMORY

__all__: list[str] = []

_ROUNDS_OF_DISCRETE = 20
_NUM_VALUES = 1_000
_NOTHING = -30.0
_FARTHEST = 2**53


@batch_rule.register(TruncatedRV)
def _truncation_rule(op: TruncatedRV, node: Apply) -> Rule:
    base = op.base_rv_op
    if not isinstance(base, RandomVariable):
        return nested_rule(op, node)
    function = sampler(base)
    dtype = torch_dtype(node.outputs[0].type.dtype)
    is_discrete = not dtype.is_floating_point
    most = min(op.max_n_steps, _ROUNDS_OF_DISCRETE) if is_discrete else op.max_n_steps
    num_others = len(node.outputs) - 1

    def rule(run: Run, rng: object, size: Value, *values: Value) -> tuple[Tensor | None, ...]:
        *parameters, lower, upper = (run.lift(value) for value in values)
        sizes, aligned = align_parameters(
            [*parameters, lower, upper], [*base.ndims_params, 0, 0], size
        )
        *parameters, lower, upper = aligned
        shape = (run.batch, *sizes)
        drawn = function(run.generator, shape, *parameters)
        accepted = (drawn >= lower) & (drawn <= upper)
        for _ in range(most):
            if bool(accepted.all()):
                return drawn.to(dtype), *(None,) * num_others
            pending = ~accepted
            fresh = _redraw(run, function, shape, base.ndims_params, parameters, pending)
            low, high = (bound.expand(shape)[pending] for bound in (lower, upper))
            drawn = drawn.masked_scatter(pending, fresh)
            accepted = accepted.masked_scatter(pending, (fresh >= low) & (fresh <= high))
        if is_discrete and not any(base.ndims_params):
            pending = ~accepted
            chosen = [x.expand(shape)[pending] for x in (*parameters, lower, upper)]
            found = _draw_by_table(base, run, *chosen)
            if found is not None:
                drawn = drawn.masked_scatter(pending, found.to(drawn.dtype))
                return drawn.to(dtype), *(None,) * num_others
        raise UnsupportedModelError(
            f"Expected a truncated {base.name!r} to have mass between its bounds; got none in "
            f"{most} rounds of draws. Widen the bounds, or raise `max_n_steps`:\n\n"
            f"    pm.Truncated(name, dist, lower=lower, upper=upper, max_n_steps={100 * most})"
        )

    return rule


def _redraw(
    run: Run,
    function: Sampler,
    shape: tuple[int, ...],
    ndims: list[int],
    parameters: list[Tensor],
    pending: Tensor,
) -> Tensor:
    chosen = [
        x.expand(*shape, *x.shape[x.ndim - ndim :])[pending]
        for x, ndim in zip(parameters, ndims, strict=True)
    ]
    return function(run.generator, (int(pending.sum()),), *chosen)


def _draw_by_table(base: RandomVariable, run: Run, *arguments: Tensor) -> Tensor | None:
    """Draw from probabilities of values next to the likelier bound; None where these are not all.

    Parameters
    ----------
    base : RandomVariable
        What is truncated.
    run : Run
        Of the graph.
    arguments : Tensor, shape (n,)
        Parameters, and the bounds, of n draws.
    """
    *parameters, lower, upper = arguments
    stand_ins = [pt.scalar(dtype=str(x.dtype).removeprefix("torch.")) for x in parameters]
    value = pt.lvector()
    graph = BatchedGraph([*stand_ins, value], [pm.logp(base(*stand_ins), value, warn_rvs=False)])
    # One more than there are between the bounds, if these are so near to each other.
    number = int(min(float((upper.double() - lower.double()).max()) + 2, _NUM_VALUES))
    pieces = zip(*(x.split(MEMORY.at_once(number)) for x in arguments), strict=True)
    found = [_draw_piece(graph, run, number, *piece) for piece in pieces]
    return None if any(x is None for x in found) else torch.cat(found)


def _draw_piece(graph: BatchedGraph, run: Run, number: int, *arguments: Tensor) -> Tensor | None:
    *parameters, lower, upper = arguments

    def log_masses(values: Tensor) -> Tensor:
        [found] = graph([*parameters, values], batch=len(values))
        inside = (values >= lower.unsqueeze(1)) & (values <= upper.unsqueeze(1))
        return torch.where(inside, found, -torch.inf).nan_to_num(nan=-torch.inf)

    ends = torch.stack([lower.double().ceil(), upper.double().floor()], dim=1)
    known = ends.clamp(-_FARTHEST, _FARTHEST).long()
    from_above = log_masses(known).where(ends.abs() < _FARTHEST, -torch.inf).argmax(1) == 1
    first = known.gather(1, from_above.long().unsqueeze(1))
    steps = torch.arange(number, device=run.device)
    values = first + torch.where(from_above, -1, 1).unsqueeze(1) * steps
    table = log_masses(values)
    peak = table.amax(1, keepdim=True)
    if bool((torch.isneginf(peak) | (table[:, -1:] - peak > _NOTHING)).any()):
        return None
    picked = torch.multinomial((table - peak).exp(), 1, generator=run.generator)
    return values.gather(1, picked)[:, 0]
