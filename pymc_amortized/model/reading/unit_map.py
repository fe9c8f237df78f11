"""Which unit each observed value belongs to, found by asking the model.

An explicit indicator may reach the observations in any way: ``mu[z]``, ``mu[z][:, None]``,
``mu[z[group]]``, ``pt.switch(z, a, b)``. Rather than to recognize such graphs, they are evaluated:
indicators are set to binary codes of their own position, and each observation tells by its response
to which unit it listens. That is asked under many draws of the parameters, for there may be some
under which components are alike. The answer is then verified on random indicators.
"""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pytensor.graph.traversal import ancestors
from torch import Tensor

from pymc_amortized.errors import SeveralUnitsError
from pymc_amortized.memory import MEMORY
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation
from pymc_amortized.model.reading.response import Response, Responses, differs, entry_shape

__all__ = [
    "UnitMap",
    "depends_on",
    "indicators_of",
    "parents_of",
    "unit_map",
]

_NUM_VERIFICATIONS = 16
_MOST_VALUES = 8
_MANY_VALUES = 64
_WORK = 2**26


@dataclass(frozen=True, slots=True)
class UnitMap:
    """Which unit of an indicator each entry of an observation belongs to.

    Attributes
    ----------
    indicator : str or None
        Name of the indicator; None where the observation depends on parameters alone.
    owner : numpy.ndarray of int, shape (*entries,)
        Flat index of the unit, or -1 where an entry depends on none.
    """

    indicator: str | None
    owner: np.ndarray

    @property
    def is_identity(self) -> bool:
        """Whether entries and units are the same, in the same order."""
        return bool(np.array_equal(self.owner.ravel(), np.arange(self.owner.size)))

    def entries_follow(self, units: Sequence[int]) -> bool:
        """Tell whether axes of entries are those of the units (*units), and further ones."""
        shape, num_units = self.owner.shape, math.prod(units)
        if shape[: len(units)] != tuple(units):
            return False
        rows = self.owner.reshape(num_units, -1)
        return bool((rows == np.arange(num_units)[:, None]).all())


def indicators_of(complete: CompleteModel, observation: Observation) -> list[Indicator]:
    """Return the indicators on which an observation depends."""
    above = set(ancestors(observation.roots, blockers=complete.indicator_variables))
    found = [i for i in complete.indicators if i.variable in above]
    if observation.mixture_indicator is not None:
        found += [i for i in complete.indicators if i.name == observation.mixture_indicator]
    return found


def unit_map(
    responses: Responses,
    observation: Observation,
    supports: Mapping[str, Sequence[int]],
    generator: torch.Generator,
) -> UnitMap:
    """Find the unit of every entry of an observation.

    Parameters
    ----------
    responses : Responses
        Those of the model's observed variables.
    observation : Observation
        One of them.
    supports : mapping of str to sequence of int
        The values that each indicator can take.
    generator : torch.Generator
        For the random indicators that verify the answer.

    Raises
    ------
    SeveralUnitsError
        If an entry depends on more than one unit.
    """
    found = indicators_of(responses.complete, observation)
    if not found:
        return UnitMap(None, np.full(entry_shape(observation), -1))
    [indicator] = found
    if observation.mixture_indicator is not None:
        shape = responses.draws[indicator.name].shape[1:]
        return UnitMap(indicator.name, np.arange(math.prod(shape)).reshape(shape))
    probe = _Probe(responses, observation, indicator)
    return UnitMap(indicator.name, probe.owner(supports[indicator.name], generator))


class _Probe:
    """Asks an observation how it responds to an indicator."""

    def __init__(
        self, responses: Responses, observation: Observation, indicator: Indicator
    ) -> None:
        self.name = observation.name
        self.indicator_name = indicator.name
        self.shape = tuple(responses.draws[indicator.name].shape[1:])
        self._members, self._is_chain = indicator.members, indicator.order > 0
        self._response = responses.of(observation)

    def respond(self, indicator: Tensor, rows: Tensor) -> list[Tensor]:
        """Return the response of each entry to indicators (R, units), under n draws.

        Of shape (n, R, entries, features).
        """
        runs = indicator.repeat(len(rows), 1).reshape(-1, *self.shape)
        draws = rows.repeat_interleave(len(indicator))
        responses = self._response({self.indicator_name: runs}, rows=draws)
        shape = (len(rows), len(indicator), math.prod(self._response.entry_shape))
        return [r.reshape(*shape, r.shape[-1]) for r in responses]

    def owner(self, support: Sequence[int], generator: torch.Generator) -> np.ndarray:
        num_units = math.prod(self.shape)
        if num_units == 1 and len(support) > _MANY_VALUES:
            return np.zeros(self._response.entry_shape, dtype=int)
        if (found := self._along_units(support, generator)) is not None:
            return found
        groups = self._values_together(support)
        every = torch.arange(num_units)
        found = torch.zeros(math.prod(self._response.entry_shape), dtype=torch.int64)
        for group in groups:
            found |= self._listening(every, group)
        for others in groups[1:]:  # in a class of the whole sequence, which its last unit has
            by_class = self._listening(every // self.shape[-1], [groups[0][0], others[0]])
            found = torch.where((found == 0) & (by_class > 0), by_class * self.shape[-1], found)
        owner = found - 1
        self._verify(owner, groups, num_units, generator)
        return owner.reshape(self._response.entry_shape).numpy()

    def _along_units(self, support: Sequence[int], generator: torch.Generator) -> np.ndarray | None:
        """Return the owners if the first axes of entries are the units; None if they are not.

        Each entry is compared with what it says where all units have one value. Units take all
        values in turn, from random beginnings: so many times that an entry of another unit would
        be taken for its own with probability 2^-16.
        """
        shape, num_values = self._response.entry_shape, len(support)
        is_joint_chain = self._is_chain and bool(self._members)
        if shape[: len(self.shape)] != self.shape or num_values > _MANY_VALUES or is_joint_chain:
            return None
        num_units, values = math.prod(self.shape), torch.as_tensor(support)
        owner = torch.arange(num_units).repeat_interleave(math.prod(shape) // max(num_units, 1))
        rounds = math.ceil(_NUM_VERIFICATIONS / math.log2(max(num_values, 2)))
        first = torch.randint(num_values, (rounds, 1, num_units), generator=generator)
        picks = ((first + torch.arange(num_values)[:, None]) % num_values).flatten(0, 1)
        listens = False
        for rows in self._response.pieces(num_values + len(picks)):
            tables = self.respond(values[:, None].expand(-1, num_units), rows)
            if not self._follow(owner, picks, values, rows, tables):
                return None
            listens = listens or any(bool(differs(x, x[:, :1]).any()) for x in tables)
        # An entry that says the same under all values may as well belong to its unit.
        return (owner if listens else torch.full_like(owner, -1)).reshape(shape).numpy()

    def _follow(
        self,
        owner: Tensor,
        picks: Tensor,
        values: Tensor,
        rows: Tensor,
        tables: Sequence[Tensor],
    ) -> bool:
        """Tell whether entries depend on their owners alone: positions (runs, units) of values."""
        chosen = picks[:, owner.clamp(min=0, max=picks.shape[1] - 1)]  # (runs, entries)
        entries = torch.arange(owner.numel())
        responses = self.respond(values[picks], rows)
        return not any(
            bool(differs(response, table[:, chosen, entries]).any())
            for response, table in zip(responses, tables, strict=True)
        )

    def _values_together(self, support: Sequence[int]) -> list[list[int]]:
        """Return the values that units of one sequence can have together: those of its class."""
        classes = [m.digits.table[0] for m in self._members if not m.digits.is_aligned]
        if not self._is_chain or not classes:
            return [list(support)]
        groups: dict[tuple[int, ...], list[int]] = {}
        for value, key in zip(support, zip(*classes, strict=True), strict=True):
            groups.setdefault(key, []).append(value)
        return list(groups.values())

    def _listening(self, numbers: Tensor, values: Sequence[int]) -> Tensor:
        """Return 1 + the number of the units (units,) that each entry listens to; 0: to none."""
        num_bits = max(1, int(numbers.max() + 1).bit_length())
        bits = torch.stack([((numbers + 1) >> bit) & 1 for bit in range(num_bits)])
        weights = 2 ** torch.arange(num_bits)
        base = torch.full((1, len(numbers)), values[0])
        found = torch.zeros(math.prod(self._response.entry_shape), dtype=torch.int64)
        for value in values[1:]:
            runs = torch.cat([base, torch.where(bits == 1, value, values[0])])
            changed = torch.zeros(num_bits, found.numel(), dtype=torch.bool)
            for rows in self._response.pieces(len(runs)):
                for response in self.respond(runs, rows):
                    changed |= differs(response[:, 1:], response[:, :1]).any(0)
            found |= (changed.long() * weights[:, None]).sum(0)
        return found

    def _verify(
        self,
        owner: Tensor,
        groups: Sequence[Sequence[int]],
        num_units: int,
        generator: torch.Generator,
    ) -> None:
        """Check on random indicators that each entry depends on its unit alone."""
        values = torch.as_tensor([value for group in groups for value in group])
        picks = self._pick(groups, num_units, generator)
        agrees = bool((owner < num_units).all())
        for rows in self._response.pieces(len(values) + len(picks)):
            tables = self.respond(values[:, None].expand(-1, num_units), rows)
            agrees = agrees and self._follow(owner, picks, values, rows, tables)
        if not agrees:
            raise SeveralUnitsError(
                f"Expected each value of {self.name!r} to depend on one unit of "
                f"{self.indicator_name!r}; some depend on several. Write a chain whose states are "
                "what they depend on together, such as pairs of a state and the one after it:\n\n"
                "    onward = (pt.eye(K)[:, :, None] * P).reshape((K, K * K))\n"
                "    P_of_pairs = pt.tile(onward, (K, 1))\n"
                "    first_pair = pm.Categorical.dist((first[:, None] * P).ravel())\n"
                "    pairs = pmx.DiscreteMarkovChain(\n"
                '        "pairs", P=P_of_pairs, init_dist=first_pair, shape=T - 1\n'
                "    )\n"
                "    before, after = pairs // K, pairs % K",
                self.indicator_name,
            )

    def _pick(
        self, groups: Sequence[Sequence[int]], num_units: int, generator: torch.Generator
    ) -> Tensor:
        """Return random positions (runs, units) among all values, of one group in each sequence."""
        runs = _NUM_VERIFICATIONS
        if len(groups) == 1:
            return torch.randint(len(groups[0]), (runs, num_units), generator=generator)
        sizes = torch.as_tensor([len(group) for group in groups])
        num_sequences = num_units // self.shape[-1]
        group = torch.randint(len(groups), (runs, num_sequences), generator=generator)
        group = group.repeat_interleave(self.shape[-1], dim=1)
        share = torch.rand((runs, num_units), generator=generator)
        return (sizes.cumsum(0) - sizes)[group] + (share * sizes[group]).long()


def parents_of(complete: CompleteModel, indicator: Indicator) -> list[Indicator]:
    """Return the indicators on which another depends directly."""
    others = [i for i in complete.indicators if i is not indicator]
    above = set(ancestors([indicator.variable], blockers=[i.variable for i in others]))
    return [i for i in others if i.variable in above]


def depends_on(response: Response, name: str, values: Tensor, support: Sequence[int]) -> np.ndarray:
    """Tell which entries respond to which units of an indicator.

    Parameters
    ----------
    response : Response
        Of an observed variable, or of an indicator.
    name : str
        The indicator whose units are changed.
    values : Tensor of int, shape (M, *units)
        Its values in the draws of the response.
    support : sequence of int
        The values that it can take.

    Returns
    -------
    numpy.ndarray of bool, shape (entries, units)
        Under some draw, and some change of the unit alone.
    """
    units = tuple(values.shape[1:])
    num_units, num_entries = math.prod(units), math.prod(response.entry_shape)
    found = torch.zeros(num_entries, num_units, dtype=torch.bool)
    codes, known = values.reshape(len(values), -1) - support[0], torch.as_tensor(support)
    shifts = np.unique(np.linspace(1, len(support) - 1, _MOST_VALUES, dtype=int))
    each = len(shifts) * num_units * max(1, num_entries)
    rows = torch.arange(max(2, min(response.num_draws, _WORK // each)))
    before = response({}, rows=rows)
    for some in torch.arange(num_units).split(MEMORY.at_once(len(rows) * num_entries)):
        for shift in shifts:
            changed = codes[rows].repeat(len(some), 1, 1)  # (some, rows, units)
            own = torch.arange(len(some))
            changed[own, :, some] = (changed[own, :, some] + int(shift)) % len(support)
            runs = known[changed].reshape(-1, *units)
            after = response({name: runs}, rows=rows.repeat(len(some)))
            for x, y in zip(before, after, strict=True):
                y = y.reshape(len(some), len(rows), num_entries, -1)
                x = x.reshape(1, len(rows), num_entries, -1)
                found[:, some] |= differs(x, y).any(1).T
    return found.numpy()
