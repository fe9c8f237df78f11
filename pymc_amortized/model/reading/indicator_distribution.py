"""The distribution of indicators given parameters: their values, and how probable each is."""

import itertools

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import torch

from pymc.distributions.custom import CustomDistRV
from pymc.distributions.discrete import DiscreteUniformRV
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from torch import Tensor

from pymc_amortized.compat import has_time_varying_transitions
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.model.complete_model import CompleteModel, Indicator
from pymc_amortized.model.reading.covariates import Covariate
from pymc_amortized.model.reading.markov_from_logp import StateProbe
from pymc_amortized.model.reading.markov_from_scan import read_scan_chain

__all__ = [
    "ChainDistribution",
    "IndicatorDistribution",
    "UnitDistribution",
    "indicator_distribution",
]


@dataclass(frozen=True, slots=True)
class UnitDistribution:
    """Independent indicators: log p(z_i = k given θ).

    Attributes
    ----------
    support : tuple of int
        The K values.
    units : tuple of int
        Shape of the units.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    _tables: tuple[BatchedGraph, ...]
    _components_last: bool
    _covariates: tuple[Covariate, ...] = ()

    order = 0

    def log_probs(
        self, parameters: Sequence[Tensor], covariates: Mapping[str, Tensor | np.ndarray] = {}
    ) -> Tensor:
        """Return log probabilities (S, *units, K), with the model's covariates or given ones."""
        num_draws = parameters[0].shape[0] if parameters else 1
        given = [*parameters, *(covariates.get(c.name, c.values) for c in self._covariates)]
        tables = [_as_batch(graph(given)[0], parameters) for graph in self._tables]
        table = tables[0] if self._components_last else torch.stack(tables, dim=-1)
        missing = len(self.units) + 2 - table.ndim
        table = table.reshape(table.shape[0], *(1,) * missing, *table.shape[1:])
        return table.expand(num_draws, *self.units, len(self.support))

    def symbolic_log_probs(
        self, parameters: Sequence[Variable], covariates: Mapping[str, Variable]
    ) -> Variable:
        """Return log probabilities of one draw as a PyTensor graph, (*units, K)."""
        given = [*parameters, *(covariates[c.name] for c in self._covariates)]
        tables = [
            graph_replace(
                list(graph.outputs),
                dict(zip(graph.inputs, given, strict=True)),
                strict=False,
            )[0]
            for graph in self._tables
        ]
        if self._components_last:
            return pt.broadcast_to(tables[0], (*self.units, len(self.support)))
        return pt.stack([pt.broadcast_to(table, self.units) for table in tables], axis=-1)


@dataclass(frozen=True, slots=True)
class ChainDistribution:
    """A Markov chain: log p(z_1, …, z_L) and log p(z_t given z_{t-L}, …, z_{t-1}).

    Attributes
    ----------
    support : tuple of int
        The K values.
    units : tuple of int
        Shape of the units; time is the last axis.
    order : int
        L.
    time_varying : bool
        Whether the transition has an axis of time.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    order: int
    time_varying: bool
    _initial: BatchedGraph
    _transition: BatchedGraph

    def log_initial(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return log probabilities (S, *chains, K, ..., K) of the first L states."""
        table = torch.stack(
            [_as_batch(value, parameters) for value in self._initial(parameters)], dim=-1
        )
        states = (len(self.support),) * self.order
        return self._spread(table.reshape(*table.shape[:-1], *states), self.order, parameters)

    def log_transition(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return log probabilities (S, *chains, [T - L,] K, ..., K)."""
        values = [_as_batch(value, parameters) for value in self._transition(parameters)]
        core_ndim = self.order + 1 + self.time_varying
        if len(values) > 1:
            # One graph for each pair of states, each a value per time point.
            num_states = len(self.support)
            stacked = torch.stack(values, dim=-1)
            table = stacked.reshape(*stacked.shape[:-1], num_states, num_states)
        else:
            [table] = values
        return self._spread(table, core_ndim, parameters)

    def symbolic_tables(self, parameters: Sequence[Variable]) -> tuple[Variable, Variable]:
        """Return both tables of one draw as PyTensor graphs; axes of chains may be missing."""
        num_states = len(self.support)

        def outputs(graph: BatchedGraph) -> list[Variable]:
            known = dict(zip(graph.inputs, parameters, strict=True))
            return graph_replace(list(graph.outputs), known, strict=False)

        initial = pt.stack(pt.broadcast_arrays(*outputs(self._initial)), axis=-1)
        leading = [initial.shape[axis] for axis in range(initial.ndim - 1)]
        initial = initial.reshape((*leading, *(num_states,) * self.order))
        values = outputs(self._transition)
        if len(values) == 1:
            return initial, values[0]
        stacked = pt.stack(values, axis=-1)
        leading = [stacked.shape[axis] for axis in range(stacked.ndim - 1)]
        return initial, stacked.reshape((*leading, num_states, num_states))

    def _spread(self, table: Tensor, core_ndim: int, parameters: Sequence[Tensor]) -> Tensor:
        num_draws = parameters[0].shape[0] if parameters else 1
        chains = self.units[:-1]
        core = table.shape[table.ndim - core_ndim :]
        missing = len(chains) + core_ndim + 1 - table.ndim
        table = table.reshape(table.shape[0], *(1,) * missing, *table.shape[1:])
        return table.expand(num_draws, *chains, *core)


IndicatorDistribution = UnitDistribution | ChainDistribution

_TOLERANCE = 1e-6


def indicator_distribution(
    complete: CompleteModel,
    indicator: Indicator,
    draws: Mapping[str, Tensor],
    covariates: Sequence[Covariate] = (),
) -> IndicatorDistribution:
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
        return _known_chain(complete, indicator, units, every)
    if isinstance(op, SymbolicRandomVariable | CustomDistRV):
        return _custom_distribution(complete, indicator, units, values)
    support = _support(complete, indicator, values)
    covariates = tuple(covariates)
    inputs = [*complete.parameter_variables, *(c.variable for c in covariates)]
    if isinstance(op, ptr.CategoricalRV):
        # One graph for all values, where there would be one for each.
        weights = op.dist_params(indicator.variable.owner)[0]
        graph = density_graph(inputs, [pt.log(weights)])
        return UnitDistribution(support, units, (graph,), True, covariates)
    graphs = tuple(
        density_graph(
            inputs,
            [
                elementwise_logp(
                    indicator.variable, _constant_states(indicator, units, value), inputs
                )
            ],
        )
        for value in support
    )
    return UnitDistribution(support, units, graphs, False, covariates)


def _constant_states(indicator: Indicator, shape: Sequence[int], value: int) -> Variable:
    return pt.constant(np.full(shape, value, dtype=indicator.variable.type.dtype))


def _as_batch(value: np.ndarray | Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Give a constant table a batch axis, on the device of the parameters."""
    if isinstance(value, Tensor):
        return value
    device = parameters[0].device if parameters else None
    return torch.as_tensor(value, device=device).unsqueeze(0)


def _support(
    complete: CompleteModel, indicator: Indicator, values: Sequence[Tensor]
) -> tuple[int, ...]:
    """Return the values that an indicator can take."""
    node = indicator.variable.owner
    op = node.op

    def parameter(position: int) -> np.ndarray | Tensor:
        variable = op.dist_params(node)[position]
        return BatchedGraph(complete.parameter_variables, [variable])(values)[0]

    if isinstance(op, ptr.CategoricalRV):
        return tuple(range(parameter(0).shape[-1]))
    if isinstance(op, ptr.BernoulliRV):
        return (0, 1)
    if isinstance(op, DiscreteUniformRV):
        return tuple(
            range(_one_number(indicator, parameter(0)), _one_number(indicator, parameter(1)) + 1)
        )
    if isinstance(op, ptr.BinomialRV | ptr.BetaBinomialRV):
        return tuple(range(_one_number(indicator, parameter(0)) + 1))
    raise _infinite_support(indicator)


def _one_number(indicator: Indicator, value: np.ndarray | Tensor) -> int:
    if isinstance(value, Tensor) or np.ptp(value) != 0:
        raise UnsupportedModelError(
            f"Expected {indicator.name!r} to have the same finite set of values for every unit "
            "and every parameter; got bounds that differ. Use one set that holds all of them:\n\n"
            f'    pm.Categorical("{indicator.name}", p=weights, shape=...)'
        )
    return int(np.ravel(value)[0])


def _infinite_support(indicator: Indicator) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Expected discrete variables with finitely many values; {indicator.name!r} is a "
        f"{indicator.variable.owner.op.name!r}, which may have infinitely many, so that it cannot "
        "be summed out. Bound it, or marginalize it yourself (a Poisson with a Gamma rate, for "
        "instance, is a pm.NegativeBinomial):\n\n"
        f'    pm.Categorical("{indicator.name}", p=probabilities_up_to_a_bound)'
    )


def _custom_distribution(
    complete: CompleteModel,
    indicator: Indicator,
    units: tuple[int, ...],
    values: Sequence[Tensor],
) -> IndicatorDistribution:
    """Read a custom distribution over states: from its scan, or else by asking its density."""
    if len(units) == 1 and isinstance(indicator.variable.owner.op, SymbolicRandomVariable):
        scanned = read_scan_chain(indicator.variable.owner, complete.parameter_variables, values)
        if scanned is not None:
            support = tuple(range(scanned.num_states))
            return ChainDistribution(support, units, 1, True, scanned.initial, scanned.transition)
    probe = StateProbe(complete, indicator, units, values)
    support = probe.support()
    if support is None:
        raise _infinite_support(indicator)
    if probe.is_independent(support):
        return UnitDistribution(support, units, probe.unit_tables(support), False)
    initial, transition = probe.chain_tables(support)
    chain = ChainDistribution(support, units, 1, True, initial, transition)
    probe.verify(support, chain.log_initial(values), chain.log_transition(values))
    return chain


def _known_chain(
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
            f"    pmx.DiscreteMarkovChain({indicator.name!r}, P=P / P.sum(-1, keepdims=True), ...)"
        )
