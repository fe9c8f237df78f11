"""The distribution of indicators given parameters: their values, and how probable each is."""

import itertools

from collections.abc import Mapping, Sequence

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import torch

from pymc.distributions.custom import CustomDistRV
from pymc.distributions.discrete import DiscreteUniformRV
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.simulator import SimulatorRV
from pymc.distributions.truncated import TruncatedRV
from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph
from torch import Tensor

from pymc_amortized.compat import has_time_varying_transitions
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.model.complete_model import CompleteModel, Indicator
from pymc_amortized.model.indicators.chain_distribution import ChainDistribution
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.indicators.unit_distribution import UnitDistribution
from pymc_amortized.model.reading.chains.markov_from_logp import StateProbe
from pymc_amortized.model.reading.chains.markov_from_scan import read_scan_chain
from pymc_amortized.model.reading.covariates import Covariate

__all__ = [
    "indicator_distribution",
    "indicator_support",
]


_TOLERANCE = 1e-6
_MANY_VALUES = 8
_FROM_ZERO = (
    ptr.PoissonRV,
    ptr.NegBinomialRV,
    ptr.BinomialRV,
    ptr.BetaBinomialRV,
    ptr.GeometricRV,
)


def indicator_distribution(
    complete: CompleteModel,
    indicator: Indicator,
    draws: Mapping[str, Tensor],
    covariates: Sequence[Covariate] = (),
) -> AbstractIndicatorDistribution:
    """Read the distribution of an indicator.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    indicator : Indicator
        One of its indicators.
    draws : mapping of str to Tensor, shape (M, *shape)
        Simulated data sets with their parameters and indicators.
    covariates : sequence of Covariate
        Those that run along units, which independent indicators can then be given anew.

    Raises
    ------
    DensityUnavailableError
        If states can be drawn, but their probabilities are not known as tables.
    UnsupportedModelError
        If the indicator has infinitely many values, or its tables are none of probabilities.
    """
    units = tuple(draws[indicator.name].shape[1:])
    op = indicator.variable.owner.op
    values = [draws[parameter.name][:1] for parameter in complete.parameters]
    if isinstance(op, DiscreteMarkovChainRV):
        every = [draws[parameter.name] for parameter in complete.parameters]
        return _read_known_chain(complete, indicator, units, every)
    is_truncated = isinstance(op, TruncatedRV)
    if isinstance(op, SymbolicRandomVariable | CustomDistRV | SimulatorRV) and not is_truncated:
        return _custom_distribution(complete, indicator, units, values)
    support = indicator_support(complete, indicator, draws)
    covariates = tuple(covariates)
    inputs = [*complete.parameter_variables, *(c.variable for c in covariates)]
    if isinstance(op, ptr.CategoricalRV):
        # One graph for all values, where there would be one for each.
        weights = op.dist_params(indicator.variable.owner)[0]
        graph = density_graph(inputs, [pt.log(weights)])
        return UnitDistribution(support, units, graph, True, covariates)
    if len(support) >= _MANY_VALUES:
        # One graph for all of them, too, with an axis before those of units.
        column = np.reshape(support, (-1, *(1,) * len(units)))
        states = _constant_states(indicator, (len(support), *units), column)
        table = pt.moveaxis(elementwise_logp(indicator.variable, states, inputs), 0, -1)
        return UnitDistribution(support, units, density_graph(inputs, [table]), True, covariates)
    states = [_constant_states(indicator, units, value) for value in support]
    tables = [elementwise_logp(indicator.variable, state, inputs) for state in states]
    return UnitDistribution(support, units, density_graph(inputs, tables), False, covariates)


def _constant_states(
    indicator: Indicator, shape: Sequence[int], value: int | np.ndarray
) -> Variable:
    return pt.constant(np.full(shape, value, dtype=indicator.variable.type.dtype))


def indicator_support(
    complete: CompleteModel,
    indicator: Indicator,
    draws: Mapping[str, Tensor],
    parents: Mapping[Variable, tuple[tuple[int, ...], tuple[int, ...]]] = {},
) -> tuple[int, ...]:
    """Return the values that an indicator can take.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    indicator : Indicator
        One of its indicators.
    draws : mapping of str to Tensor, shape (M, *shape)
        Simulated data sets with their parameters.
    parents : mapping of Variable to (support, units)
        Indicators on which it depends: bounds are the widest under any of their values.

    Raises
    ------
    UnsupportedModelError
        If there are infinitely many, or others for each unit or parameter.
    """
    node = indicator.variable.owner
    op = node.op
    values = [draws[parameter.name][:1] for parameter in complete.parameters]
    every = _every_combination(parents)

    def value(variable: Variable) -> np.ndarray | Tensor:
        variable = vectorize_graph(variable, every) if every else variable
        return BatchedGraph(complete.parameter_variables, [variable])(values)[0]

    def parameter(position: int) -> np.ndarray | Tensor:
        return value(op.dist_params(node)[position])

    def between(lower: np.ndarray | Tensor, upper: np.ndarray | Tensor) -> tuple[int, ...]:
        if every and not any(isinstance(x, Tensor) for x in (lower, upper)):
            lower, upper = np.min(lower), np.max(upper)
        return tuple(range(_one_number(indicator, lower), _one_number(indicator, upper) + 1))

    if isinstance(op, ptr.CategoricalRV):
        return tuple(range(parameter(0).shape[-1]))
    if isinstance(op, ptr.BernoulliRV):
        return (0, 1)
    if isinstance(op, DiscreteUniformRV):
        return between(parameter(0), parameter(1))
    if isinstance(op, ptr.BinomialRV | ptr.BetaBinomialRV):
        return between(np.zeros(()), parameter(0))
    if isinstance(op, TruncatedRV):
        bounds = [value(bound) for bound in node.inputs[-2:]]
        if isinstance(op.base_rv_op, _FROM_ZERO) and not isinstance(bounds[0], Tensor):
            bounds[0] = np.maximum(bounds[0], 0)
        if not any(isinstance(x, np.ndarray) and np.isinf(x).any() for x in bounds):
            return between(*bounds)
    raise _infinite_support_error(indicator)


def _every_combination(
    parents: Mapping[Variable, tuple[tuple[int, ...], tuple[int, ...]]],
) -> dict[Variable, Variable]:
    """Return each parent with one value in all units, for all combinations of their values."""
    supports = [support for support, _ in parents.values()]
    columns = np.array(list(itertools.product(*supports))).T
    return {
        variable: pt.constant(
            np.broadcast_to(column.reshape(-1, *(1,) * len(units)), (len(column), *units)).astype(
                variable.dtype
            )
        )
        for (variable, (_, units)), column in zip(parents.items(), columns, strict=True)
    }


def _one_number(indicator: Indicator, value: np.ndarray | Tensor) -> int:
    if isinstance(value, Tensor) or np.ptp(value) != 0:
        raise UnsupportedModelError(
            f"Expected {indicator.name!r} to have the same finite set of values for every unit "
            "and every parameter; got bounds that differ. Use one set that holds all of them, and "
            "give those that are impossible for a unit the probability 0:\n\n"
            f'    lowest + pm.Categorical("{indicator.name}", p=weights)'
        )
    return int(np.ravel(value)[0])


def _infinite_support_error(indicator: Indicator) -> UnsupportedModelError:
    op = indicator.variable.owner.op
    kind = getattr(op, "name", None) or type(op).__name__
    return UnsupportedModelError(
        f"Expected discrete variables with finitely many values; {indicator.name!r} is a "
        f"{kind!r}, which may have infinitely many, so that it cannot "
        "be summed out. Bound it, or marginalize it yourself (a Poisson with a Gamma rate, for "
        "instance, is a pm.NegativeBinomial):\n\n"
        f'    pm.Categorical("{indicator.name}", p=probabilities_up_to_a_bound)'
    )


def _custom_distribution(
    complete: CompleteModel,
    indicator: Indicator,
    units: tuple[int, ...],
    values: Sequence[Tensor],
) -> AbstractIndicatorDistribution:
    """Read a custom distribution over states: from its scan, or else by asking its density."""
    if len(units) == 1 and isinstance(indicator.variable.owner.op, SymbolicRandomVariable):
        scanned = read_scan_chain(indicator.variable.owner, complete.parameter_variables, values)
        if scanned is not None:
            support = tuple(range(scanned.num_states))
            return ChainDistribution(support, units, 1, True, scanned.initial, scanned.transition)
    probe = StateProbe(complete, indicator, units, values)
    support = probe.support()
    if support is None:
        raise _infinite_support_error(indicator)
    if probe.is_independent(support):
        return UnitDistribution(support, units, probe.unit_tables(support), False)
    initial, transition = probe.chain_tables(support)
    chain = ChainDistribution(support, units, 1, True, initial, transition)
    probe.verify(support, chain.log_initial(values), chain.log_transition(values))
    return chain


def _read_known_chain(
    complete: CompleteModel,
    indicator: Indicator,
    units: tuple[int, ...],
    every: Sequence[Tensor],
) -> ChainDistribution:
    """Read ``pymc_extras.DiscreteMarkovChain``, whose transition is looked at under every draw."""
    op = indicator.variable.owner.op
    transition, _, initial, _ = indicator.variable.owner.inputs
    inputs = complete.parameter_variables
    matrix = BatchedGraph(inputs, [transition])(every)[0]
    _require_rows_of_one(indicator, torch.as_tensor(matrix))
    num_states = matrix.shape[-1]
    support = tuple(range(num_states))
    first_shape = (*units[:-1], op.n_lags)
    first_logps = []
    for combination in itertools.product(support, repeat=op.n_lags):
        states = np.broadcast_to(np.array(combination), first_shape).astype("int64")
        logp = elementwise_logp(initial, pt.constant(states), inputs)
        first_logps.append(logp.sum(-1) if logp.type.ndim == len(first_shape) else logp)
    return ChainDistribution(
        support,
        units,
        op.n_lags,
        has_time_varying_transitions(op),
        density_graph(inputs, first_logps),
        density_graph(inputs, [pt.log(transition)]),
    )


def _require_rows_of_one(indicator: Indicator, matrix: Tensor) -> None:
    """Refuse a transition (..., K, K) that is no table of probabilities."""
    totals = matrix.double().sum(-1)
    wrong = (totals - 1).abs() > _TOLERANCE
    if bool(wrong.any()) or bool((matrix < 0).any()):
        found = f"{float(totals[wrong][0]):.4g}" if bool(wrong.any()) else "negative entries"
        raise UnsupportedModelError(
            f"Expected the rows of the transition of {indicator.name!r} to be probabilities, which "
            f"sum to 1; got {found}. Divide each row by its sum:\n\n"
            "    P = P / P.sum(axis=-1, keepdims=True)"
        )
