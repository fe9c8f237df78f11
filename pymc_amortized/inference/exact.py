"""The exact density of data sets of any size, and the exact distribution of their indicators."""

import math

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.discrete import MarkovChain, forward_filter
from pymc_amortized.discrete.log_sum import log_sum
from pymc_amortized.errors import InvalidDataError
from pymc_amortized.graph.gradients import bare_gradients
from pymc_amortized.memory import MEMORY, MemoryBudget
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.density.distinct_units import DistinctUnits, distinct_units
from pymc_amortized.model.density.likelihood import NamedData
from pymc_amortized.model.spec import IndicatorSpec, ObservationSpec
from pymc_amortized.typing import NamedTensors

__all__ = ["OF_NO_UNIT", "ExactModel"]

OF_NO_UNIT = "_of_no_unit"

_DRAWS_OF_CHAINS = 1_000


class ExactModel:
    """What the density of a model says of B data sets, for S draws of the parameters of each.

    Parameters
    ----------
    density : BatchedDensity
        The density of the model, for data of its own shape.
    layout : DataLayout
        How data sets are laid out in frames of that shape.
    memory : MemoryBudget
        How much is worked on at once.

    Notes
    -----
    Draws are worked on in pieces, so that memory stays bounded however many there are.
    """

    def __init__(
        self, density: BatchedDensity, layout: DataLayout, memory: MemoryBudget = MEMORY
    ) -> None:
        self.density, self.layout, self.memory = density, layout, memory
        self._distinct: WeakKeyDictionary[Frames, DistinctUnits | None] = WeakKeyDictionary()

    def log_marginal(self, parameters: NamedTensors, frames: Frames) -> Tensor:
        """Return log p(y given θ) (S, B) in nats, for parameters (S, B, *shape)."""
        if len(frames) > 1 and self._fills_a_piece(parameters, frames):
            columns = []
            for b, one in enumerate(frames.one_by_one):
                of_one = {name: value[:, b : b + 1] for name, value in parameters.items()}
                columns.append(self.log_marginal(of_one, one))
            return torch.cat(columns, dim=1)

        def total(part: NamedTensors) -> Tensor:
            if self.layout.is_plain(frames):
                return self._log_plain(part, frames).reshape(-1, len(frames))
            terms = [self._log_table(t, i, part, frames) for i, t in self._tables()]
            others = [o for t in self.layout.tables for o in _partly_without_units(t)]
            terms += [self._log_without_unit(o.name, part, frames).sum(-1) for o in others]
            return sum(terms)

        try:
            return torch.cat([total(part) for part in self._pieces(parameters, frames)])
        except (IndexError, RuntimeError) as error:
            if not frames.covariates or "index" not in str(error):
                raise
            names = list(frames.covariates)
            raise InvalidDataError(
                f"Expected covariates among {names} that can serve as an index, as in the model; "
                f"a value is out of range: {error}"
            ) from error

    def _log_plain(self, parameters: NamedTensors, frames: Frames) -> Tensor:
        """Log density (S B,) of data of the model's own shape, equal units evaluated once."""
        flat, data = self._flat(parameters, frames)
        units = self._find_distinct(flat, data, frames)
        if units is None:
            return self.density.log_marginal(flat, data)
        return self.density.log_marginal_of_counts(flat, units.data, units.counts)

    def _find_distinct(
        self, flat: NamedTensors, data: NamedData, frames: Frames
    ) -> DistinctUnits | None:
        if any(isinstance(x, Tensor) for x in data.values()):
            return None
        if frames not in self._distinct:
            self._distinct[frames] = distinct_units(self.density, flat, data)
        return self._distinct[frames]

    def distinct_units(self, parameters: NamedTensors, frames: Frames) -> DistinctUnits | None:
        """Return the units of one data set that differ; None where each counts for itself."""
        if not self.layout.is_plain(frames):
            return None
        return self._find_distinct(*self._flat(parameters, frames), frames)

    def log_distinct(
        self, units: DistinctUnits, parameters: NamedTensors, frames: Frames
    ) -> Tensor:
        """Return log p(y_i, z_i = k given θ) (S, m, K) of the m units that differ."""
        flat, _ = self._flat(parameters, frames)
        return self.density.log_some_units(flat, units.data, len(units.counts))

    def log_marginal_with_gradient(
        self, parameters: NamedTensors, frames: Frames
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return log p(y given θ) (S, B) in nats, and its gradients over parameters, by name.

        Gradients of infinite densities are 0.
        """
        values, gradients = [], []
        for part in self._pieces(parameters, frames):
            with bare_gradients():
                found, of_part = self._differentiate(part, frames)
            if not all(bool(torch.isfinite(x).all()) for x in of_part):
                found, of_part = self._differentiate(part, frames)
            values.append(found)
            gradients.append(of_part)
        whole = (torch.cat(pieces) for pieces in zip(*gradients, strict=True))
        return torch.cat(values), dict(zip(parameters, whole, strict=True))

    def _differentiate(self, part: NamedTensors, frames: Frames) -> tuple[Tensor, list[Tensor]]:
        leaves = {name: x.detach().requires_grad_() for name, x in part.items()}
        with torch.enable_grad():
            values = self.log_marginal(leaves, frames)
            total = values[torch.isfinite(values)].sum()
        if not total.requires_grad:
            return values.detach(), [torch.zeros_like(x) for x in leaves.values()]
        inputs = list(leaves.values())
        found = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
        return values.detach(), list(found)

    def log_units(self, indicator: str, parameters: NamedTensors, frames: Frames) -> Tensor:
        """Return log p(y_i, z_i = k given θ) (S, B, m, *units, K); p(z_i = k) where y_i is missing.

        Everything is kept in memory: pass a limited number of draws, as :meth:`pieces` does.
        """
        spec = next(i for i in self.layout.spec.indicators if i.name == indicator)
        return self._joint(spec, parameters, frames)

    def by_unit(
        self, parameters: NamedTensors, frames: Frames, table: UnitTable
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the log likelihood of each unit (S, B, m, *units), its indicator summed out.

        Under the name of the variable; units that are observed through several variables have one
        for all of them together, under their joined names, with the first of their tables. Values
        of such variables that belong to no unit follow one by one (S, B, 1, n).
        """
        if table.indicator is None:
            pieces = [
                self._log_entries(table, part, frames) for part in self._pieces(parameters, frames)
            ]
            yield table.name, torch.cat(pieces)
            return
        owners = [
            t
            for t in self.layout.tables
            if t.indicator is not None and t.indicator.name == table.indicator.name
        ]
        if owners[0] is table:
            pieces = [
                forward_filter(self.chain(table.indicator, part, frames)).log_marginal
                if table.is_sequence
                else log_sum(self._joint(table.indicator, part, frames))
                for part in self._pieces(parameters, frames)
            ]
            yield "_".join(name for t in owners for name in t.names), torch.cat(pieces)
        for o in _partly_without_units(table):
            values = self._log_without_unit(o.name, parameters, frames)
            yield f"{o.name}{OF_NO_UNIT}", values.unsqueeze(2)

    def chain(
        self, indicator: IndicatorSpec, parameters: NamedTensors, frames: Frames
    ) -> MarkovChain:
        """Return chains with their emissions, batch (S, B, *chains); keeps everything in memory."""
        distribution = self.density.indicator_distribution(indicator.name)
        draws, num_datasets = self._num_draws(parameters), len(frames)
        values = [parameters[p.name] for p in self.layout.spec.parameters]
        flat = [x.double().expand(draws, num_datasets, *x.shape[2:]).flatten(0, 1) for x in values]
        initial, transition = distribution.log_initial(flat), distribution.log_transition(flat)
        shape = (draws, num_datasets) if flat else (1, 1)
        return MarkovChain(
            initial.unflatten(0, shape),
            transition.unflatten(0, shape),
            self.log_emission(indicator, parameters, frames),
            distribution.order,
            time_varying=distribution.time_varying,
        )

    def log_emission(
        self, indicator: IndicatorSpec, parameters: NamedTensors, frames: Frames
    ) -> Tensor:
        """Return log p(y_t given z_t = k, θ) (S, B, *chains, T, K), 0 where y_t is missing."""
        flat, data = self._flat(parameters, frames)
        likelihood = self.density.log_likelihood(flat, data, indicator.name)
        shape = (self._num_draws(parameters), len(frames), frames.num_frames)
        likelihood = likelihood.expand(math.prod(shape), *likelihood.shape[1:]).unflatten(0, shape)
        index = self.layout.table_of(indicator.name)
        if index is not None:
            observed = frames.selected[index].unflatten(-1, indicator.units)
            if not bool(observed.all()):
                likelihood = torch.where(observed.unsqueeze(-1), likelihood, 0.0)
        if frames.times is None:
            return likelihood[:, :, 0]
        return _order_in_time(likelihood.flatten(2, 3), frames.times)

    def pieces(self, parameters: NamedTensors, frames: Frames) -> Iterator[slice]:
        """Yield slices of draws whose tables of densities fit into memory, or a CPU's cache."""
        num_draws = self._num_draws(parameters)
        step = max(1, self._draws_in_a_piece(frames) // len(frames))
        for start in range(0, num_draws, step):
            yield slice(start, min(start + step, num_draws))

    def _draws_in_a_piece(self, frames: Frames) -> int:
        """Return how many draws of one data set fit into memory, or a CPU's cache.

        Chains are passed over step by step: the more at a time, the better.
        """
        components = max([i.num_components for i in self.layout.spec.indicators], default=1)
        units = self._distinct.get(frames)
        entries = sum(table.num_rows for table in self.layout.tables)
        entries = entries if units is None else len(units.counts)
        most = self.memory.on(frames.selected[0].device)
        if self.layout.spec.structure == "sequence":
            most = max(most, min(self.memory.entries, _DRAWS_OF_CHAINS * entries * components))
        return max(1, most // max(1, frames.num_frames * entries * components))

    def _fills_a_piece(self, parameters: NamedTensors, frames: Frames) -> bool:
        """Tell whether the draws of one data set are enough work for themselves.

        Then its data need not be repeated for each draw, nor what is computed from them alone.
        """
        return self._num_draws(parameters) >= self._draws_in_a_piece(frames)

    def _pieces(self, parameters: NamedTensors, frames: Frames) -> Iterator[NamedTensors]:
        for piece in self.pieces(parameters, frames):
            yield {name: value[piece] for name, value in parameters.items()}

    def _tables(self) -> Iterator[tuple[int, UnitTable]]:
        done = set()
        for index, table in enumerate(self.layout.tables):
            name = None if table.indicator is None else table.indicator.name
            if name is None or name not in done:
                yield index, table
            done.add(name)

    def _log_table(
        self, table: UnitTable, index: int, parameters: NamedTensors, frames: Frames
    ) -> Tensor:
        if table.indicator is None:
            entries = self._log_entries(table, parameters, frames)
            return entries.flatten(2).sum(-1)
        if table.is_sequence:
            chain = self.chain(table.indicator, parameters, frames)
            log_marginal = forward_filter(chain).log_marginal
            return log_marginal.reshape(*log_marginal.shape[:2], -1).sum(-1)
        joint = self._joint(table.indicator, parameters, frames)
        return log_sum(joint).flatten(2).sum(-1)

    def _log_without_unit(self, name: str, parameters: NamedTensors, frames: Frames) -> Tensor:
        """Log density (S, B, n) of values that belong to no unit, though others of theirs do."""
        flat, data = self._flat(parameters, frames)
        values = self.density.log_without_unit(flat, data, name)
        shape = (self._num_draws(parameters), len(frames), frames.num_frames)
        # Such a table is not resized: its values are those of the first frame.
        return values.expand(math.prod(shape), -1).unflatten(0, shape)[:, :, 0]

    def _log_entries(self, table: UnitTable, parameters: NamedTensors, frames: Frames) -> Tensor:
        """Log density of rows without an indicator, (S, B, m, rows)."""
        flat, data = self._flat(parameters, frames)
        index = self.layout.tables.index(table)
        shape = (self._num_draws(parameters), *frames.selected[index].shape[:2])
        entries = self.density.log_entries(flat, data, table.name)
        entries = entries.expand(math.prod(shape), *entries.shape[1:])
        return self._rows(table, index, entries.reshape(*shape, -1), frames)

    def _rows(self, table: UnitTable, index: int, entries: Tensor, frames: Frames) -> Tensor:
        observed = torch.as_tensor(table.entries_observed(table.observations[0]))
        if entries.shape[-1] != observed.numel():
            whole = entries.new_zeros(*entries.shape[:-1], observed.numel())
            whole[..., observed.flatten().to(entries.device)] = entries
            entries = whole
        rows = entries.unflatten(-1, (table.num_rows, -1)).sum(-1)
        return torch.where(frames.selected[index], rows, torch.zeros_like(rows))

    def _joint(self, indicator: IndicatorSpec, parameters: NamedTensors, frames: Frames) -> Tensor:
        flat, data = self._flat(parameters, frames)
        ordered = [flat[p.name] for p in self.layout.spec.parameters]
        prior = self.density.indicator_distribution(indicator.name).log_probs(ordered, data)
        likelihood = self.density.log_likelihood(flat, data, indicator.name)
        shape = (self._num_draws(parameters), len(frames), frames.num_frames)
        likelihood = likelihood.expand(math.prod(shape), *likelihood.shape[1:])
        likelihood = likelihood.reshape(*shape, *likelihood.shape[1:])
        prior = prior.expand(math.prod(shape), *prior.shape[1:]).reshape(*shape, *prior.shape[1:])
        index = self.layout.table_of(indicator.name)
        if index is not None and not self.layout.tables[index].grouped:
            selected = frames.selected[index]
            if bool(selected.all()):
                return prior + likelihood
            spread = selected.reshape(*selected.shape, *(1,) * (likelihood.ndim - 4))
            likelihood = torch.where(spread, likelihood, torch.zeros_like(likelihood))
        return prior + likelihood

    def _flat(self, parameters: NamedTensors, frames: Frames) -> tuple[NamedTensors, NamedData]:
        """Pair every draw with every frame: parameters and data with one leading axis S B m.

        Data of a single frame are the same for all draws, and so are arrays without such an axis.
        In memory this axis is the last one, so that whatever is computed from them is laid out in
        the same way: operations over short axes, such as that of components, are then fast.
        """
        shape = (self._num_draws(parameters), len(frames), frames.num_frames)
        flat = {n: _rows(x.unsqueeze(2), shape).contiguous() for n, x in parameters.items()}
        flat = {name: x.movedim(-1, 0) for name, x in flat.items()}
        data = {**frames.observations, **frames.covariates}
        if shape[1:] == (1, 1) and frames.selected[0].device.type == "cpu":
            return flat, {name: x[0, 0].numpy() for name, x in data.items()}
        return flat, {n: _rows(x.unsqueeze(0), shape).movedim(-1, 0) for n, x in data.items()}

    @staticmethod
    def _num_draws(parameters: NamedTensors) -> int:
        return next(iter(parameters.values())).shape[0] if parameters else 1


def _partly_without_units(table: UnitTable) -> list[ObservationSpec]:
    """Return the variables of which some values belong to units, and others to none."""
    return [o for o in table.observations if table.grouped and (o.owner < 0).any()]


def _rows(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Bring x (S or 1, B, m or 1, *shape) into rows that come last, (*shape, S B m)."""
    return x.expand(*shape, *x.shape[3:]).movedim((0, 1, 2), (-3, -2, -1)).flatten(-3)


def _order_in_time(rows: Tensor, times: Tensor) -> Tensor:
    """Bring rows (S, B, m R, K) into the order of time (S, B, T, K), 0 after the end."""
    if bool((times == torch.arange(times.shape[1], device=times.device)).all()):
        return rows[:, :, : times.shape[1]]
    places = times.clamp(min=0)[None, :, :, None].expand(len(rows), -1, -1, rows.shape[-1])
    return torch.where((times >= 0).unsqueeze(-1), rows.gather(2, places), 0.0)
