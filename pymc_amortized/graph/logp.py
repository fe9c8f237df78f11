"""PyMC's log densities as batched graphs that can be evaluated and differentiated in torch."""

from collections.abc import Callable, Mapping, Sequence

import pytensor.tensor as pt

from pymc.distributions.simulator import SimulatorRV
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace, graph_replace
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.random.op import RNGConsumerOp
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.rewriting.shape import ShapeFeature
from pytensor.tensor.type import TensorType

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.graph.atoms import component_log_densities, log_density
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.fusion import fuse
from pymc_amortized.graph.interpreter import unconvertible_op

__all__ = ["component_logps", "conditioned_on", "density_graph", "elementwise_logp"]

_FULL = {"int8": "int64", "int16": "int64", "int32": "int64", "float32": "float64"}


def elementwise_logp(
    variable: Variable,
    value: Variable,
    given: Sequence[Variable] | Mapping[Variable, Variable],
) -> Variable:
    """Return the log density of a random variable at a value, one entry per draw of it.

    Parameters
    ----------
    variable : Variable
        The random variable.
    value : Variable
        Where to evaluate.
    given : sequence or mapping of Variable
        Variables on which it is conditioned; in a mapping, with what stands for each in the result.

    Raises
    ------
    DensityUnavailableError
        If PyMC does not know the density, or torch lacks an operation that it needs.
    """
    [logp] = _logps([variable], given, lambda rv: [log_density(rv, value)])
    return logp


def component_logps(
    components: Sequence[Variable],
    value: Variable,
    given: Sequence[Variable] | Mapping[Variable, Variable],
) -> list[Variable]:
    """Return the log density of each component of a mixture; see :func:`component_log_densities`.

    Parameters
    ----------
    components : sequence of Variable
        The random variables, or a single one with an axis of components.
    value : Variable
        Where to evaluate.
    given : sequence or mapping of Variable
        As in :func:`elementwise_logp`.

    Raises
    ------
    DensityUnavailableError
        If PyMC does not know one of them, or torch lacks an operation that it needs.
    """
    return _logps(components, given, lambda *rvs: component_log_densities(rvs, value))


def _logps(
    variables: Sequence[Variable],
    given: Sequence[Variable] | Mapping[Variable, Variable],
    build: Callable[..., list[Variable]],
) -> list[Variable]:
    name = variables[0].name or variables[0]

    def built(*conditioned: Variable) -> list[Variable]:
        _refuse_simulators(name, conditioned)
        try:
            densities = _in_full_precision(build(*conditioned), {})
        except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
            first_line = str(error).strip().split("\n")[0].rstrip(".")
            raise DensityUnavailableError(f"{name}: {first_line}") from error
        if (refusal := unconvertible_op(densities)) is not None:
            raise DensityUnavailableError(f"{name}: torch lacks {refusal.op_name!r}") from refusal
        return densities

    return conditioned_on(given, variables, built)


def _refuse_simulators(name: object, variables: Sequence[Variable]) -> None:
    """Refuse PyMC's pseudo-likelihood, the distance to a data set that is drawn anew each time."""
    if any(v.owner and isinstance(v.owner.op, SimulatorRV) for v in ancestors(variables)):
        raise DensityUnavailableError(f"{name}: a pm.Simulator has no density")


def conditioned_on(
    given: Sequence[Variable] | Mapping[Variable, Variable],
    variables: Sequence[Variable],
    build: Callable[..., Sequence[Variable]],
) -> list[Variable]:
    """Build graphs from variables, with those on which they are conditioned set apart.

    PyMC copies graphs whose density it has to derive, and with them the random variables that are
    conditioned on. So stand-ins take their places before, and give them back after.

    Parameters
    ----------
    given : sequence or mapping of Variable
        Variables to set apart; in a mapping, with what takes their places in the end.
    variables : sequence of Variable
        What the graphs are built from.
    build : callable
        Takes the variables, and returns the graphs.
    """
    finally_there = given if isinstance(given, Mapping) else dict(zip(given, given, strict=True))
    above = set(ancestors(variables))
    stand_ins = {v: v.type(name=v.name) for v in finally_there if v in above}
    built = build(*clone_replace(list(variables), stand_ins))
    back = {stand_in: finally_there[variable] for variable, stand_in in stand_ins.items()}
    return graph_replace(list(built), back, strict=False)


def density_graph(inputs: Sequence[Variable], outputs: Sequence[Variable]) -> BatchedGraph:
    """Return the batched graph of densities, in the numerically stable form that PyMC uses.

    Parameters
    ----------
    inputs : sequence of Variable
        Where the graph is cut: parameters, indicators, values.
    outputs : sequence of Variable
        Log densities.

    Raises
    ------
    DensityUnavailableError
        If the densities depend on a random variable that is not among the inputs.
    """
    stand_ins = [variable.type(name=variable.name) for variable in inputs]
    known = dict(zip(inputs, stand_ins, strict=True))
    shared = [v for v in graph_inputs(outputs, inputs) if isinstance(v, SharedVariable)]
    rngs = [variable for variable in shared if isinstance(variable.type, RandomType)]
    known |= {v: pt.constant(v.get_value()) for v in shared if v not in {*rngs, *known}}
    frozen = _in_full_precision(outputs, known)
    graph = FunctionGraph([*stand_ins, *rngs], frozen, clone=False)
    graph.attach_feature(ShapeFeature())
    stable = rewrite_graph(graph, include=("ShapeOpt", "canonicalize", "stabilize"))
    kept = stable.inputs[: len(stand_ins)]
    for variable in ancestors(stable.outputs, blockers=kept):
        if variable.owner is not None and isinstance(variable.owner.op, RNGConsumerOp):
            raise DensityUnavailableError("it depends on a random variable without a value")
    return BatchedGraph(kept, stable.outputs, evaluated=fuse(stable.outputs))


def _in_full_precision(
    outputs: Sequence[Variable], known: Mapping[Variable, Variable]
) -> list[Variable]:
    """Replace variables, and widen constants, of which PyTensor keeps the shortest type.

    The log-gamma function of the constant 3, an 8-bit integer, has the precision of 32 bits. They
    stay as they are where an operation insists on their type.
    """
    constants = {
        v: pt.constant(v.data.astype(_FULL[v.type.dtype]))
        for v in ancestors(outputs, blockers=known)
        if isinstance(v, Constant) and isinstance(v.type, TensorType) and v.type.dtype in _FULL
    }
    try:
        return clone_replace(list(outputs), {**constants, **known}, rebuild_strict=False)
    except TypeError:
        return clone_replace(list(outputs), {**known})
