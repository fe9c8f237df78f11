"""The batched rule for ``pm.Truncated``: rejection, repeated for those draws alone that need it."""

from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Apply
from pytensor.tensor.random.op import RandomVariable
from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
    torch_dtype,
)
from pymc_amortized.graph.rules.control_flow import nested_rule
from pymc_amortized.graph.samplers import Sampler, align_parameters, sampler

__all__: list[str] = []


@batch_rule.register(TruncatedRV)
def _truncation_rule(op: TruncatedRV, node: Apply) -> Rule:
    base = op.base_rv_op
    if not isinstance(base, RandomVariable):
        return nested_rule(op, node)
    function = sampler(base)
    dtype = torch_dtype(node.outputs[0].type.dtype)
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
        for _ in range(op.max_n_steps):
            if bool(accepted.all()):
                return drawn.to(dtype), *(None,) * num_others
            pending = ~accepted
            fresh = _redraw(run, function, shape, base.ndims_params, parameters, pending)
            low, high = (bound.expand(shape)[pending] for bound in (lower, upper))
            drawn = drawn.masked_scatter(pending, fresh)
            accepted = accepted.masked_scatter(pending, (fresh >= low) & (fresh <= high))
        raise UnsupportedModelError(
            f"Expected a truncated {base.name!r} to have mass between its bounds; got none in "
            f"{op.max_n_steps} rounds of draws. Widen the bounds, or raise `max_n_steps`."
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
