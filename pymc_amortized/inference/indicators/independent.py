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
        pieces = (
            self._log_probs_by_network if self.problem.exact is None else self._log_probs_by_density
        )
        values, total = [], 0.0
        for piece, log_probs in pieces(draws):
            count = len(range(*piece.indices(num_draws)))
            probabilities = _exp(log_probs.expand(count, *log_probs.shape[1:]))
            total = total + probabilities.sum(0)
            codes = _draw_codes(probabilities, generator)
            values.append((codes.long() + lowest).to(smallest_type(self.indicator.support)))
        return IndicatorDraws(torch.cat(values), total / num_draws, self._gap(draws))

    def memberships(self, draws: Draws) -> Iterator[Tensor]:
        """Yield exact p(z_i = k given y, θ) (s, *units, K) for pieces of the draws, in order."""
        for piece, log_probs in self._log_probs_by_density(draws):
            count = len(range(*piece.indices(len(draws))))
            yield _exp(log_probs.expand(count, *log_probs.shape[1:]))

    def _log_probs_by_density(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield exact log p(z given y, θ) (s, *units, K) for pieces of the draws."""
        exact = self.problem.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            joint = exact.log_units(self.indicator.name, part, self.frames)[:, 0]
            whole = piece if parameters else slice(0, len(draws))
            yield whole, self._arrange(joint - log_sum(joint).unsqueeze(-1))

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
        prior = self.problem.simulator.log_indicator_probabilities(
            self.indicator.name, parameters, covariates
        )
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
        exact = torch.cat([log_p for _, log_p in self._log_probs_by_density(few)])
        return mean_divergence(
            exact, torch.cat([log_q for _, log_q in self._log_probs_by_network(few)])
        )


def _index_or_slice(positions: np.ndarray, device: torch.device) -> Tensor | slice:
    """Return an index; where it picks the first rows in order, as a slice, which copies nothing."""
    in_order = np.array_equal(positions, np.arange(len(positions)))
    return slice(len(positions)) if in_order else torch.as_tensor(positions, device=device)


def _exp(log_probs: Tensor) -> Tensor:
    """Return probabilities, those below e^-700 as 0: underflow takes five times as long."""
    return F.threshold_(log_probs.clamp(min=-700.0).exp_(), 1e-300, 0.0)


def _draw_codes(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draw codes (s, *units) with probabilities (s, *units, K), by one uniform number each."""
    *columns, _ = probabilities.unbind(-1)
    uniform = torch.rand(
        probabilities.shape[:-1],
        generator=generator,
        device=probabilities.device,
        dtype=probabilities.dtype,
    )
    codes = torch.zeros_like(uniform, dtype=torch.int16)
    edge = torch.zeros_like(uniform)
    for column in columns:
        edge = edge + column
        codes += uniform > edge
    return codes
