"""Draws of indicators for each draw of the parameters: exact where a density exists."""

import math

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.discrete.log_sum import log_sum
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.problem import ModelInference
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.networks.units import Units

__all__ = ["IndicatorDraws", "draw_indicators", "memberships"]

_MAX_ROWS = 262_144
_DRAWS_FOR_GAP = 32


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorDraws:
    """Indicators of one data set.

    Attributes
    ----------
    values : Tensor of int64, shape (S, *units)
        A draw for each draw of the parameters.
    probabilities : Tensor, shape (*units, K)
        p(z_i = k given y), averaged over draws: of a chain, its smoothing distribution.
    gap : float
        Mean over units of the divergence of the network's probabilities from the exact ones, in
        nats; NaN unless both exist.
    filtering : Tensor, shape (*units, K), or None
        Of a chain, p(z_t = k given y up to t), averaged over draws.
    viterbi : Tensor of int64, shape (*units,), or None
        Of a chain, the most probable path under the most probable draw.
    """

    values: Tensor
    probabilities: Tensor
    gap: float
    filtering: Tensor | None = None
    viterbi: Tensor | None = None


def draw_indicators(
    inference: ModelInference,
    indicator: IndicatorSpec,
    dataset: Dataset,
    draws: Draws,
    generator: torch.Generator,
) -> IndicatorDraws:
    """Draw an indicator for each draw of the parameters, and average its probabilities.

    Parameters
    ----------
    inference : ModelInference
        Whose model or network answers.
    indicator : IndicatorSpec
        Which.
    dataset : Dataset
        The data.
    draws : Draws
        S draws of the parameters.
    generator : torch.Generator
        Of the randomness.
    """
    return _Conditional(inference, indicator, dataset).draw(draws, generator)


def memberships(
    inference: ModelInference, indicator: IndicatorSpec, dataset: Dataset, draws: Draws
) -> Iterator[Tensor]:
    """Yield exact p(z_i = k given y, θ) (s, *units, K) for pieces of the draws, in their order."""
    conditional = _Conditional(inference, indicator, dataset)
    num_draws = draws.log_q.shape[0]
    for piece, log_probs in conditional.by_density(draws):
        count = len(range(*piece.indices(num_draws)))
        yield _exp(log_probs.expand(count, *log_probs.shape[1:]))


class _Conditional:
    """p(z given y, θ) of one indicator and one data set."""

    def __init__(
        self, inference: ModelInference, indicator: IndicatorSpec, dataset: Dataset
    ) -> None:
        self.inference = inference
        self.indicator = indicator
        self.frames = dataset.frames.to(inference.device)
        self.table = inference.layout.table_of(indicator.name)
        self.where = None
        by_row = self.table is not None and not inference.layout.tables[self.table].grouped
        if by_row and indicator.units:
            self.where = _as_slice(dataset.positions[self.table], inference.device)

    def draw(self, draws: Draws, generator: torch.Generator) -> IndicatorDraws:
        num_draws = draws.log_q.shape[0]
        pieces = self._by_network if self.inference.exact is None else self.by_density
        values, total = [], 0.0
        for piece, log_probs in pieces(draws):
            count = len(range(*piece.indices(num_draws)))
            probabilities = _exp(log_probs.expand(count, *log_probs.shape[1:]))
            total = total + probabilities.sum(0)
            values.append(_draw(probabilities, generator))
        codes = torch.cat(values).long() + self.indicator.support[0]
        return IndicatorDraws(codes, total / num_draws, self._gap(draws))

    def by_density(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield exact log p(z given y, θ) (s, *units, K) for pieces of the draws."""
        exact = self.inference.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            joint = exact.log_units(self.indicator.name, part, self.frames)[:, 0]
            whole = piece if parameters else slice(0, draws.log_q.shape[0])
            yield whole, self._in_order(joint - log_sum(joint).unsqueeze(-1))

    @torch.no_grad()
    def _by_network(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """Yield the network's log q(z given y, θ) (s, *units, K) for pieces of the draws."""
        inference, units = self.inference, self._units()
        features = inference.space.features(draws.vector, draws.parameters)
        num_draws, num_rows = draws.log_q.shape[0], units.mask.shape[1]
        step = max(1, _MAX_ROWS // num_rows)
        for start in range(0, num_draws, step):
            piece = slice(start, min(start + step, num_draws))
            part = features[piece]
            log_q = inference.estimator.classify(self.table, units.repeat(len(part)), part).double()
            grouped = inference.layout.tables[self.table].grouped
            num_frames = 1 if grouped else self.frames.num_frames
            log_q = log_q.reshape(
                len(part), num_frames, *self.indicator.units, self.indicator.num_components
            )
            if not grouped:
                log_q = self._prior_where_missing(draws, piece, log_q)
            yield piece, self._in_order(log_q)

    def _units(self) -> Units:
        inference = self.inference
        return inference.estimator.scaled(inference.layout.units(self.frames))[self.table]

    def _prior_where_missing(self, draws: Draws, piece: slice, log_q: Tensor) -> Tensor:
        """Put log p(z_i given θ) where unit i is not observed, in frames (s, m, *units, K)."""
        selected = self.frames.selected[self.table][0]  # (m, R)
        if bool(selected.all()):
            return log_q
        count, num_frames = log_q.shape[:2]
        parameters = [
            draws.parameters[p.name][piece].double().repeat_interleave(num_frames, dim=0)
            for p in self.inference.layout.spec.parameters
        ]
        covariates = {
            name: x[0].repeat(count, *(1,) * (x.ndim - 2))
            for name, x in self.frames.covariates.items()
        }
        prior = self.inference.simulator.log_indicator_probabilities(
            self.indicator.name, parameters, covariates
        )
        prior = prior.expand(count * num_frames, *prior.shape[1:]).reshape(log_q.shape)
        spread = selected.reshape(*selected.shape, *(1,) * (log_q.ndim - 3))
        return torch.where(spread, log_q, prior.to(log_q.dtype))

    def _in_order(self, table: Tensor) -> Tensor:
        """Bring frames (s, m, *units, K) into the order of the user's rows (s, *units, K)."""
        return table[:, 0] if self.where is None else table.flatten(1, 2)[:, self.where]

    @torch.no_grad()
    def _gap(self, draws: Draws) -> float:
        """Return how far the network's probabilities are from the exact ones, in nats per unit."""
        inference = self.inference
        if inference.exact is None or inference.estimator is None or self.table is None:
            return math.nan
        if not inference.space.size:
            return math.nan  # without parameters the exact table has no axis of draws
        few = draws.select(slice(_DRAWS_FOR_GAP))
        exact = torch.cat([log_p for _, log_p in self.by_density(few)])
        network = torch.cat([log_q for _, log_q in self._by_network(few)])
        terms = exact.exp() * (exact - network)
        return float(torch.where(exact.exp() > 0, terms, torch.zeros_like(terms)).sum(-1).mean())


def _as_slice(positions: np.ndarray, device: torch.device) -> Tensor | slice:
    """Return an index; where it picks the first rows in order, as a slice, which copies nothing."""
    in_order = np.array_equal(positions, np.arange(len(positions)))
    return slice(len(positions)) if in_order else torch.as_tensor(positions, device=device)


def _exp(log_probs: Tensor) -> Tensor:
    """Return probabilities, those below e^-700 as 0: underflow takes five times as long."""
    return F.threshold_(log_probs.clamp(min=-700.0).exp_(), 1e-300, 0.0)


def _draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
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
