"""Markov chains with what they depend on, as one chain: of all combinations of their states.

A class of each sequence is a part of the state that never changes; a component of each time point,
one that is drawn anew, given the rest of the state.
"""

import math

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import torch

from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors
from torch import Tensor

from pymc_amortized.compat import has_time_varying_transitions
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.logp import density_graph
from pymc_amortized.model.complete_model import CompleteModel, Indicator
from pymc_amortized.model.indicators.digits import Digits
from pymc_amortized.model.reading.joint.parts import (
    Part,
    every_value,
    log_probabilities,
    require_few,
)
from pymc_amortized.model.reading.mixture_parts import categorical_weights
from pymc_amortized.model.reading.response import response_of_indicator
from pymc_amortized.model.reading.unit_map import depends_on, parents_of

__all__ = ["JointChain", "is_known_chain"]

MOST_STATES = 64


def is_known_chain(indicator: Indicator) -> bool:
    """Tell whether an indicator is a ``pymc_extras.DiscreteMarkovChain``."""
    return isinstance(indicator.variable.owner.op, DiscreteMarkovChainRV)


@dataclass(frozen=True, slots=True)
class JointChain:
    """Builds one chain of several indicators, of which at least one is a chain.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    parts : sequence of Part
        Chains over the same units (*sequences, T); classes of sequences (*sequences); components
        of time points (*sequences, T).
    draws : mapping of str to Tensor, shape (M, *shape)
        Parameters under which is looked whether components have the same probabilities at any time.
    """

    complete: CompleteModel
    parts: Sequence[Part]
    draws: Mapping[str, Tensor]

    @property
    def units(self) -> tuple[int, ...]:
        """(*sequences, T)."""
        return next(part.units for part in self.parts if is_known_chain(part.indicator))

    def digits(self) -> list[Digits]:
        """Return where each part is found in the joint state.

        Raises
        ------
        UnsupportedModelError
            If parts are not of the same sequences, or have too many combinations.
        """
        for part in self.parts:
            self._require_fit(part)
            self._require_own_sequence(part)
        sizes = [len(part.support) for part in self.parts]
        require_few(self.parts, sizes, MOST_STATES)
        table = np.array(np.unravel_index(np.arange(math.prod(sizes)), sizes))
        times = np.arange(math.prod(self.units)).reshape(self.units)
        return [
            Digits(
                support=part.support,
                units=part.units,
                joint_units=self.units,
                joint_unit=(times if part.units == self.units else times[..., -1]).ravel(),
                place=np.zeros(math.prod(part.units), dtype=int),
                table=table[row : row + 1],
            )
            for row, part in enumerate(self.parts)
        ]

    def build(self, digits: Sequence[Digits]) -> Variable:
        """Return the joint chain."""
        known = every_value(self.parts, digits)
        sequences, num_states = self.units[:-1], digits[0].table.shape[1]
        batch = sequences if self._steps_differ() else ()
        initial = pt.zeros((num_states, *sequences))
        steps = pt.zeros((num_states, num_states, *batch))  # before, after
        for part, d in zip(self.parts, digits, strict=True):
            state = d.table[0]
            if is_known_chain(part.indicator):
                first, transition = self._chain(part, known, batch)
                initial += first
                after = np.arange(num_states)[None, :]
                steps += transition[after, ..., state[:, None], state[None, :]]
                continue
            logp = log_probabilities(self.complete, part, known)
            if part.units == self.units:
                self._require_constant(part, logp)
                logp = logp[..., 0]
                steps += logp[None]
            else:
                same = np.where(state[:, None] == state[None, :], 0.0, -np.inf)
                steps += same.reshape(*same.shape, *(1,) * len(batch))
            initial += logp
        P = pt.exp(pt.moveaxis(steps, (0, 1), (-2, -1)))
        P = pt.specify_shape(P, (*batch, num_states, num_states))
        first = pt.expand_dims(pt.exp(pt.moveaxis(initial, 0, -1)), -2)  # with an axis of lags
        start = pm.Categorical.dist(p=first, shape=(*sequences, 1))
        return pmx.DiscreteMarkovChain.dist(P=P, init_dist=start, shape=self.units)

    def _steps_differ(self) -> bool:
        """Tell whether sequences have transitions of their own."""
        for part in self.parts:
            if is_known_chain(part.indicator):
                transition = part.indicator.variable.owner.inputs[0]
                parents = {p.variable for p in self._parents(part)}
                if transition.ndim > 2 or not parents.isdisjoint(ancestors([transition])):
                    return True
            elif part.units == self.units:
                return True
        return False

    def _chain(
        self, part: Part, known: Mapping[Variable, Variable], batch: Sequence[int]
    ) -> tuple[Variable, Variable]:
        """Return log p(first state) (L, *sequences), and the transition (L, *batch, K, K).

        Both given the other parts in each of L joint states.
        """
        transition, _, initial, _ = part.indicator.variable.owner.inputs
        sequences, own = self.units[:-1], part.indicator.variable
        parents = {p.variable: known[p.variable] for p in self._parents(part)}
        weights = categorical_weights(initial)
        if weights is None:
            raise _unsupported(f"the first state of {part.indicator.name!r} is not categorical")
        if weights.ndim > 1:
            weights = weights[..., 0, :]  # of the one lag
        state = known[own].data.reshape(len(known[own].data), -1)[:, 0]
        first = pt.log(_spread(weights, parents, (len(state), *sequences), 1))
        steps = pt.log(_spread(transition, parents, (len(state), *batch), 2))
        return first[np.arange(len(state)), ..., state], steps

    def _require_fit(self, part: Part) -> None:
        op = part.indicator.variable.owner.op
        name = part.indicator.name
        if is_known_chain(part.indicator):
            if op.n_lags > 1 or has_time_varying_transitions(op):
                raise _unsupported(f"{name!r} looks back further, or its transition changes")
            if part.units != self.units:
                raise _unsupported(f"{name!r} has units {part.units}, and not {self.units}")
            below = [p for p in self.parts if p.indicator in self._parents(part)]
            if any(p.units == self.units for p in below):
                raise _unsupported(f"the transition of {name!r} depends on single time points")
        elif part.units not in (self.units, self.units[:-1]):
            raise _unsupported(f"{name!r} has units {part.units}, next to a chain of {self.units}")

    def _require_own_sequence(self, part: Part) -> None:
        """Refuse a part of which a sequence, or a time point, depends on another's parents."""
        above = [p for p in self.parts if p.indicator in self._parents(part)]
        if not above:
            return
        response = response_of_indicator(self.complete, part.indicator, self.draws)
        num_times, entries = self.units[-1], np.arange(math.prod(response.entry_shape))
        in_time = response.entry_shape == self.units
        for parent in above:
            name = parent.indicator.name
            listens = depends_on(response, name, self.draws[name], parent.support)
            units = np.arange(math.prod(parent.units))
            if parent.units == self.units:
                own = entries[:, None] == units if in_time else np.zeros_like(listens)
            else:
                own = (entries // num_times if in_time else entries)[:, None] == units
            if (listens & ~own).any():
                raise _unsupported(
                    f"{part.indicator.name!r} depends on {name!r} of other sequences or times"
                )

    def _parents(self, part: Part) -> Iterable[Indicator]:
        return parents_of(self.complete, part.indicator)

    def _require_constant(self, part: Part, logp: Variable) -> None:
        """Refuse components whose probabilities differ from time to time."""
        graph = density_graph(self.complete.parameter_variables, [logp])
        values = [self.draws[p.name] for p in self.complete.parameters]
        found = torch.as_tensor(graph(values)[0])
        if not torch.allclose(found, found[..., :1], rtol=1e-10, atol=1e-12, equal_nan=True):
            raise _unsupported(
                f"probabilities of {part.indicator.name!r} differ from time to time", _SUMMED_OUT
            )


def _spread(
    variable: Variable, parents: Mapping[Variable, Variable], lead: Sequence[int], core: int
) -> Variable:
    """Return a table (L, *sequences, *core) for each of L joint states that parents are in."""
    missing = len(lead) - 1 + core - variable.ndim
    padded = pt.shape_padleft(variable, missing) if missing else variable
    if parents and not set(ancestors([padded])).isdisjoint(parents):
        padded = vectorize_graph(padded, parents)
    core_shape = variable.type.shape[variable.ndim - core :]
    return pt.broadcast_to(padded, (*lead, *core_shape))


_ALL_COMBINATIONS = (
    "Write one chain whose states are all combinations:\n\n"
    '    pairs = pmx.DiscreteMarkovChain("pairs", P=P_of_pairs, init_dist=first_pair, shape=T)\n'
    "    one, other = pairs // K, pairs % K"
)
_SUMMED_OUT = (
    "Sum components of time points out in a density of your own:\n\n"
    '    pm.CustomDist("y", *parameters, logp=logp, random=random, observed=data)'
)


def _unsupported(found: str, way_out: str = _ALL_COMBINATIONS) -> UnsupportedModelError:
    return UnsupportedModelError(
        "Expected chains of order 1 over the same sequences, with classes of whole sequences, and "
        f"components of time points, that observations depend on together; got others: {found}. "
        f"{way_out}"
    )
