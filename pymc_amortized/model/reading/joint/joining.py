"""Indicators that cannot be told apart by units, as one: its values are their combinations.

An indicator below another, two of them on one observation, or one of which an observation depends
on several units: what depends on each other is found by asking the model, and becomes one unit of
a joint indicator, whose L values are the product of the supports. Everything else then sees one
indicator; digits of its values give those of the model back.
"""

import math

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import torch

from pymc.distributions.custom import CustomDistRV
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Variable
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.backend import Backend
from pymc_amortized.graph.logp import density_graph
from pymc_amortized.memory import MEMORY
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Member, Observation
from pymc_amortized.model.indicators.digits import Digits
from pymc_amortized.model.reading.indicator_distribution import indicator_support
from pymc_amortized.model.reading.joint.joint_chain import JointChain, is_known_chain
from pymc_amortized.model.reading.joint.parts import (
    Part,
    every_value,
    log_probabilities,
    require_few,
)
from pymc_amortized.model.reading.response import Response, response_of_indicator
from pymc_amortized.model.reading.stages import Stages
from pymc_amortized.model.reading.unit_map import depends_on, indicators_of, parents_of
from pymc_amortized.model.restricted_prior import RestrictedPrior

__all__ = ["MOST_COMBINATIONS", "units_can_be_joined", "with_joint_indicators"]

MOST_COMBINATIONS = 4_096

_Supports = Mapping[Variable, tuple[tuple[int, ...], tuple[int, ...]]]


def with_joint_indicators(
    complete: CompleteModel, backend: Backend = "auto", alone: str | None = None
) -> CompleteModel:
    """Return a model in which each observed value depends on one unit of one indicator.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    backend : {"auto", "torch", "pytensor"}
        Where to draw the data sets under which the model is asked.
    alone : str, optional
        An indicator of which observed values depend on several units.

    Raises
    ------
    UnsupportedModelError
        If there are more than ``MOST_COMBINATIONS`` combinations, or if values are not known.
    """
    groups = [[i for i in complete.indicators if i.name in names] for names in _groups(complete)]
    if alone is not None:
        groups = [[i for i in complete.indicators if i.name == alone]]
    if not groups:
        return complete
    draws = Stages(complete, backend).a_few(RestrictedPrior(complete, backend))
    for group in groups:
        complete = _Joining(complete, group, draws).result()
    return complete


def units_can_be_joined(indicator: Indicator) -> bool:
    """Tell whether units of an indicator are single variables, and not states of a sequence."""
    op = indicator.variable.owner.op
    is_sequence = isinstance(op, SymbolicRandomVariable | CustomDistRV)
    return not indicator.members and (not is_sequence or isinstance(op, TruncatedRV))


def _groups(complete: CompleteModel) -> list[set[str]]:
    """Return the names of indicators that are to be one."""
    names = [i.name for i in complete.indicators]
    linked = np.eye(len(names), dtype=bool)
    together = [indicators_of(complete, o) for o in complete.observations]
    together += [[i, *parents_of(complete, i)] for i in complete.indicators]
    for some in together:
        for other in some[1:]:
            linked[names.index(some[0].name), names.index(other.name)] = True
    count, label = connected_components(csr_array(linked), directed=False)
    groups = [{names[i] for i in np.flatnonzero(label == c)} for c in range(count)]
    return [group for group in groups if len(group) > 1]


class _Joining:
    """Replaces a group of indicators by one."""

    def __init__(
        self, complete: CompleteModel, group: Sequence[Indicator], draws: Mapping[str, Tensor]
    ) -> None:
        names = {i.name for i in group}
        self.complete, self.draws = _with_explicit_indicators(complete, names), draws
        self.parts: list[Part] = []
        for indicator in self._parents_first(group):
            self.parts.append(self._part(indicator))

    def result(self) -> CompleteModel:
        """Return the model with the joint indicator in place of the group."""
        if any(is_known_chain(part.indicator) for part in self.parts):
            chain = JointChain(self.complete, self.parts, self.draws)
            digits = chain.digits()
            joint, order = chain.build(digits), 1
        else:
            digits, table = self._drop_impossible(self._digits(self._connected()))
            joint, order = pm.Categorical.dist(p=pt.exp(table), shape=digits[0].joint_units), 0
        joint.name = "_and_".join(part.indicator.name for part in self.parts) + "_joint"
        whole = next((p for p, d in zip(self.parts, digits, strict=True) if d.is_aligned), None)
        indicator = Indicator(
            name=joint.name,
            variable=joint,
            origin="joint",
            order=order,
            dims=None if whole is None else whole.indicator.dims,
            members=tuple(
                Member(part.indicator, d) for part, d in zip(self.parts, digits, strict=True)
            ),
        )
        return _replace_members(self.complete, indicator)

    def _parents_first(self, group: Sequence[Indicator]) -> Iterator[Indicator]:
        waiting = list(group)
        while waiting:
            names = {i.name for i in waiting}
            free = [
                i for i in waiting if names.isdisjoint(p.name for p in parents_of(self.complete, i))
            ]
            yield from free
            waiting = [i for i in waiting if i not in free]

    def _part(self, indicator: Indicator) -> Part:
        parents = {p.indicator.variable: p for p in self.parts}
        above = [parents[p.variable] for p in parents_of(self.complete, indicator)]
        supports = {part.indicator.variable: (part.support, part.units) for part in above}
        support = self._support(indicator, supports)
        units = tuple(self.draws[indicator.name].shape[1:])
        first = sum(math.prod(part.units) for part in self.parts)
        return Part(indicator, support, units, first)

    def _support(self, indicator: Indicator, parents: _Supports) -> tuple[int, ...]:
        if is_known_chain(indicator):
            return tuple(range(indicator.variable.owner.inputs[0].type.shape[-1]))
        if not units_can_be_joined(indicator):
            names = [part.indicator.name for part in self.parts]
            raise UnsupportedModelError(
                f"Expected indicators that hang together to be distributions of PyMC, or chains of "
                f"pymc-extras; {indicator.name!r}, which hangs together with {names or 'others'}, "
                "has a distribution of its own. Write it as one of these:\n\n"
                "    first = pm.Categorical.dist(probabilities)\n"
                f'    pmx.DiscreteMarkovChain("{indicator.name}", P=P, init_dist=first, shape=T)'
            )
        return indicator_support(self.complete, indicator, self.draws, parents)

    def _connected(self) -> np.ndarray:
        """Return for each unit of all parts which joint unit it belongs to."""
        rows, columns, start = [], [], sum(math.prod(p.units) for p in self.parts)
        for factor, own in self._factors():
            size = math.prod(factor.entry_shape)
            if own is not None:
                rows.append(start + np.arange(size))
                columns.append(own)
            for part in self.parts:
                if own is not None and part.first == own[0]:
                    continue
                entries, units = np.nonzero(
                    depends_on(factor, part.indicator.name, self._values(part), part.support)
                )
                rows.append(start + entries)
                columns.append(part.first + units)
            start += size
        ends = np.concatenate(rows), np.concatenate(columns)
        graph = csr_array((np.ones(len(ends[0])), ends), shape=(start, start))
        label = connected_components(graph, directed=False)[1]
        return label[: sum(math.prod(p.units) for p in self.parts)]

    def _factors(self) -> Iterator[tuple[Response, np.ndarray | None]]:
        """Yield what units may have in common: observed values, and units of each other."""
        names = {part.indicator.name for part in self.parts}
        for observation in self.complete.observations:
            if not names.isdisjoint(i.name for i in indicators_of(self.complete, observation)):
                yield Response(self.complete, observation, self.draws), None
        for part in self.parts:
            if parents_of(self.complete, part.indicator):
                response = response_of_indicator(self.complete, part.indicator, self.draws)
                yield response, part.nodes

    def _values(self, part: Part) -> Tensor:
        return self.draws[part.indicator.name]

    def _digits(self, label: np.ndarray) -> list[Digits]:
        """Return the places of all parts in joint units, and what their values mean there."""
        label = self._in_order(label)
        num_joint = int(label.max()) + 1
        places = [_count_before(label[part.nodes]) for part in self.parts]
        sizes = [
            len(part.support)
            for part, place in zip(self.parts, places, strict=True)
            for _ in range(place.max() + 1)
        ]
        require_few(self.parts, sizes, MOST_COMBINATIONS)
        table = np.array(np.unravel_index(np.arange(math.prod(sizes)), sizes))
        joint_units = next(
            (
                p.units
                for p, place in zip(self.parts, places, strict=True)
                if place.max() == 0 and len(p.nodes) == num_joint
            ),
            (num_joint,) if num_joint > 1 else (),
        )
        digits, first = [], 0
        for part, place in zip(self.parts, places, strict=True):
            last = first + place.max() + 1
            digits.append(
                Digits(
                    support=part.support,
                    units=part.units,
                    joint_units=joint_units,
                    joint_unit=label[part.nodes],
                    place=place,
                    table=table[first:last],
                )
            )
            first = last
        return digits

    def _in_order(self, label: np.ndarray) -> np.ndarray:
        """Return numbers of joint units: of the part with one unit in each, if there is one."""
        for part in self.parts:
            own = label[part.nodes]
            if len(np.unique(own)) == len(own) == label.max() + 1:
                return np.argsort(own)[label]
        _, first = np.unique(label, return_index=True)
        return np.argsort(np.argsort(first))[label]

    def _log_table(self, digits: Sequence[Digits]) -> Variable:
        """Return log p(joint value given parameters), (*joint units, L)."""
        num_values, joint_units = digits[0].table.shape[1], digits[0].joint_units
        known = every_value(self.parts, digits)
        total = pt.zeros((math.prod(joint_units), num_values))
        for part, d in zip(self.parts, digits, strict=True):
            logp = log_probabilities(self.complete, part, known)
            terms = pt.broadcast_to(logp, (num_values, *part.units)).reshape((num_values, -1)).T
            for place in range(len(d.table)):
                here = np.flatnonzero(d.place == place)
                total = pt.inc_subtensor(total[d.joint_unit[here]], terms[here])
                absent = np.setdiff1d(np.arange(math.prod(joint_units)), d.joint_unit[here])
                if len(absent):
                    free = pt.constant(np.where(d.table[place] == 0, 0.0, -np.inf))
                    total = pt.inc_subtensor(total[absent], free)
        return pt.specify_shape(
            total.reshape((*joint_units, num_values)), (*joint_units, num_values)
        )

    def _drop_impossible(self, digits: Sequence[Digits]) -> tuple[list[Digits], Variable]:
        """Return the digits and log probabilities of values that are possible under some draw."""
        table = self._log_table(digits)
        values = [self.draws[p.name] for p in self.complete.parameters]
        graph = density_graph(self.complete.parameter_variables, [table])
        rows = torch.arange(len(values[0]) if values else 1)
        possible = torch.zeros(table.type.shape[-1], dtype=torch.bool)
        for some in rows.split(MEMORY.at_once(math.prod(table.type.shape))):
            [log_probs] = graph([x[some] for x in values], batch=len(some))
            possible |= torch.as_tensor(log_probs).isfinite().reshape(-1, len(possible)).any(0)
        kept = np.flatnonzero(possible.numpy())
        return [replace(d, table=d.table[:, kept]) for d in digits], table[..., kept]


def _with_explicit_indicators(complete: CompleteModel, names: Collection[str]) -> CompleteModel:
    """Return a model whose mixtures over some indicators depend on them as on any other."""

    def explicit(observation: Observation) -> Observation:
        if observation.mixture_indicator not in names:
            return observation
        return replace(
            observation,
            density_variable=observation.variable,
            components=None,
            weights=None,
            mixture_indicator=None,
        )

    observations = tuple(explicit(o) for o in complete.observations)
    return replace(complete, observations=observations)


def _replace_members(complete: CompleteModel, joint: Indicator) -> CompleteModel:
    """Let whatever depends on members of a joint indicator depend on it; but what users compute."""
    names = {member.indicator.name for member in joint.members}
    rest = [i for i in complete.indicators if i.name not in names]
    complete = replace(complete, indicators=(*rest, joint))
    deterministics = complete.deterministics
    for member in reversed(joint.members):  # what depends on others first
        own = member.indicator.variable
        complete = complete.replaced({own: member.digits.symbolic(joint.variable, own.dtype)})
    return replace(complete, deterministics=deterministics)


def _count_before(label: np.ndarray) -> np.ndarray:
    """Return how many equal labels come before each."""
    order = np.argsort(label, kind="stable")
    sorted_label = label[order]
    first = np.searchsorted(sorted_label, sorted_label)
    count = np.empty_like(label)
    count[order] = np.arange(len(label)) - first
    return count
