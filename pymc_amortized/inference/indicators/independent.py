"""Indicators that are independent given the parameters, one for each unit."""

import functools
import math

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from torch import Tensor

from pymc_amortized.discrete.log_sum import log_sum
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.conditional import (
    AbstractConditional,
    IndicatorDraws,
    mean_divergence,
    smallest_type,
)

__all__ = ["IndependentConditional"]


class IndependentConditional(AbstractConditional):
    """The product over units of p(z_i given y, θ)."""

    def draw(self, draws: Draws, generator: torch.Generator) -> IndicatorDraws:
        """Draw each unit by itself."""
        num_draws, lowest = len(draws), self.indicator.support[0]
        pieces, places = self._log_probs_by_network, None
        if self.problem.exact is not None:
            places = self._places(draws)
            pieces = self._log_joint if places is None else self._log_joint_of_distinct
        values, total = [], 0.0
        for piece, joint in pieces(draws):
            count = len(range(*piece.indices(num_draws)))
            shares = _shares(joint.expand(count, *joint.shape[1:]))
            total = total + (shares / shares.sum(0)).sum(-1)
            codes = _draw_codes(shares.float(), generator, places)
            values.append((codes.long() + lowest).to(smallest_type(self.indicator.support)))
        mean = (total / num_draws).movedim(0, -1)
        mean = mean if places is None else mean[places]
        return IndicatorDraws(torch.cat(values), mean, self._gap(draws))

    def memberships(self, draws: Draws) -> Iterator[Tensor]:
        """Yield exact p(z_i = k given y, θ) (s, *units, K) for pieces of the draws, in order."""
        for piece, joint in self._log_joint(draws):
            count = len(range(*piece.indices(len(draws))))
            log_probs = joint - log_sum(joint).unsqueeze(-1)
            yield _exp(log_probs.expand(count, *joint.shape[1:]))

    def _log_joint(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield log p(y_i, z_i = k given θ) (s, *units, K) for pieces of the draws."""
        exact = self.problem.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            joint = exact.log_units(self.indicator.name, part, self.frames)[:, 0]
            whole = piece if parameters else slice(0, len(draws))
            yield whole, self._arrange(joint)

    def _places(self, draws: Draws) -> Tensor | None:
        """Return which of the units that differ each of the user's is; None if all are computed."""
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        units = self.problem.exact.distinct_units(parameters, self.frames)
        if units is None:
            return None
        return units.places if self._order is None else units.places[self._order]

    def _log_joint_of_distinct(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield log p(y_i, z_i = k given θ) (s, m, K) of the m units that differ."""
        exact = self.problem.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        units = exact.distinct_units(parameters, self.frames)
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            yield piece, exact.log_distinct(units, part, self.frames)

    @torch.no_grad()
    def _log_probs_by_network(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield the network's log q(z given y, θ) (s, *units, K) for pieces of the draws."""
        features, units = self.features(draws), self.units
        step = self.draws_at_once
        grouped = self.problem.layout.tables[self.table].grouped
        num_frames = 1 if grouped else self.frames.num_frames
        for start in range(0, len(draws), step):
            piece = slice(start, min(start + step, len(draws)))
            part = features[piece]
            log_q = self.estimator.classify(self.table, units.repeat(len(part)), part).double()
            log_q = log_q.reshape(
                len(part), num_frames, *self.indicator.units, self.indicator.num_components
            )
            if not grouped:
                log_q = self._prior_where_missing(draws, piece, log_q)
            yield piece, self._arrange(log_q)

    def _prior_where_missing(self, draws: Draws, piece: slice, log_q: Tensor) -> Tensor:
        """Put log p(z_i given θ) where unit i is not observed, in frames (s, m, *units, K)."""
        selected = self.frames.selected[self.table][0]  # (m, R)
        if bool(selected.all()):
            return log_q
        count, num_frames = log_q.shape[:2]
        parameters = [
            draws.parameters[p.name][piece].double().repeat_interleave(num_frames, dim=0)
            for p in self.problem.spec.parameters
        ]
        covariates = {
            name: x[0].repeat(count, *(1,) * (x.ndim - 2))
            for name, x in self.frames.covariates.items()
        }
        distribution = self.problem.simulator.indicator_distribution(self.indicator.name)
        prior = distribution.log_probs(parameters, covariates)
        prior = prior.expand(count * num_frames, *prior.shape[1:]).reshape(log_q.shape)
        spread = selected.reshape(*selected.shape, *(1,) * (log_q.ndim - 3))
        return torch.where(spread, log_q, prior.to(log_q.dtype))

    @functools.cached_property
    def _order(self) -> Tensor | slice | None:
        """Where the user's rows are among those of frames; None where units are no rows."""
        by_row = self.table is not None and not self.problem.layout.tables[self.table].grouped
        if not by_row or not self.indicator.units:
            return None
        return _index_or_slice(self.dataset.positions[self.table], self.problem.device)

    def _arrange(self, table: Tensor) -> Tensor:
        """Bring frames (s, m, *units, K) into the order of the user's rows (s, *units, K)."""
        return table[:, 0] if self._order is None else table.flatten(1, 2)[:, self._order]

    @torch.no_grad()
    def _gap(self, draws: Draws) -> float:
        few = self.draws_for_gap(draws)
        if few is None:
            return math.nan
        joint = torch.cat([log_p for _, log_p in self._log_joint(few)])
        log_q = torch.cat([log_q for _, log_q in self._log_probs_by_network(few)])
        return mean_divergence(joint - log_sum(joint).unsqueeze(-1), log_q)


def _index_or_slice(positions: np.ndarray, device: torch.device) -> Tensor | slice:
    """Return an index; where it picks the first rows in order, as a slice, which copies nothing."""
    in_order = np.array_equal(positions, np.arange(len(positions)))
    return slice(len(positions)) if in_order else torch.as_tensor(positions, device=device)


def _exp(logs: Tensor) -> Tensor:
    """Return exponentials, the smallest as 0: underflow takes five times as long."""
    least = math.log(torch.finfo(logs.dtype).tiny) + 1
    return F.threshold_(logs.clamp(min=least).exp_(), 2 * math.exp(least), 0.0)


def _shares(log_joint: Tensor) -> Tensor:
    """Return what components have (K, *units, s), the largest 1, for logs (s, *units, K)."""
    columns = log_joint.movedim(0, -1).unbind(-2)
    largest = functools.reduce(torch.maximum, columns)
    return torch.stack([_exp(column - largest) for column in columns])


def _draw_codes(shares: Tensor, generator: torch.Generator, places: Tensor | None = None) -> Tensor:
    """Draw codes (s, *units) by what components have (K, *units, s), by one uniform number each.

    Or of units (n,) that are like others, at ``places`` (n,) among them.
    """
    ends = shares.cumsum(0)
    # What has no share ends where it begins, to the last digit: at 1, if it is the last.
    *ends, _ = (ends / ends[-1]).unbind(0)
    shape = shares.shape[1:] if places is None else (len(places), shares.shape[-1])
    options = {"generator": generator, "device": shares.device, "dtype": shares.dtype}
    uniform = torch.rand(shape, **options)
    codes = torch.zeros(shape, dtype=torch.int16, device=shares.device)
    for end in ends:
        codes += uniform >= (end if places is None else end[places])
    return codes.movedim(-1, 0)
