"""Draws of parameters and indicators for a data set, weighed against the model's own density."""

import math
import time

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.compile.spec import IndicatorSpec
from pymc_amortized.datasets import Dataset, read_dataset
from pymc_amortized.errors import InvalidArgumentError, InvalidDataError
from pymc_amortized.estimator import Estimator
from pymc_amortized.exact import ExactModel
from pymc_amortized.importance import (
    effective_sample_size,
    pareto_k_threshold,
    pareto_smooth,
    resample,
)
from pymc_amortized.layout import DataLayout, Frames
from pymc_amortized.networks.contracts import Units
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.simulator import Simulator
from pymc_amortized.source import SimulationSource
from pymc_amortized.ties import find_atoms

__all__ = [
    "Correction",
    "Draws",
    "IndicatorDraws",
    "Inference",
    "check_correction",
    "check_count",
]

Correction = Literal["auto", "none", "importance"]

_NUM_PROPOSALS = 4_000
_MAX_PROPOSALS = 128_000
_PROPOSALS_PER_DRAW = 4
_ENOUGH = 400
_MAX_ROWS = 65_536
_DRAWS_FOR_GAP = 100
_NUM_FOR_ATOMS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """S draws of the parameters of one data set.

    Attributes
    ----------
    parameters : dict of str to Tensor, shape (S, *shape)
        Constrained.
    vector : Tensor, shape (S, D)
        The same, unconstrained.
    log_joint : Tensor, shape (S,), or None
        log p(θ, y) in nats, over unconstrained parameters; None without a density.
    log_q : Tensor, shape (S,)
        Log density of the network in nats, over the same.
    log_weight : Tensor, shape (S,), or None
        ``log_joint - log_q``, up to a constant.
    rung : {"network", "importance"}
        What the draws come from.
    accepted : bool or None
        Whether the weights can be relied on; None where nothing could be checked.
    pareto_k, importance_ess : float
        Of the network's draws; NaN where nothing could be checked.
    num_proposals : int
        Draws of the network that were weighed.
    num_distinct : int
        Different draws among these.
    seconds : float
        That it took.
    """

    parameters: dict[str, Tensor]
    vector: Tensor
    log_joint: Tensor | None
    log_q: Tensor
    log_weight: Tensor | None
    rung: str
    accepted: bool | None
    pareto_k: float
    importance_ess: float
    num_proposals: int
    num_distinct: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorDraws:
    """Indicators of one data set.

    Attributes
    ----------
    values : Tensor of int64, shape (S, *units)
        A draw for each draw of the parameters.
    probabilities : Tensor, shape (*units, K)
        p(z_i = k given y), averaged over draws.
    gap : float
        Mean over units of the divergence of the network's probabilities from the exact ones, in
        nats; NaN unless both exist.
    """

    values: Tensor
    probabilities: Tensor
    gap: float


@dataclass(frozen=True, slots=True, eq=False)
class _Proposals:
    """Draws of the network: unconstrained (S, B, D), constrained, and log q (S, B)."""

    vector: Tensor
    parameters: dict[str, Tensor]
    log_q: Tensor


class Inference:
    """Everything that answers data sets.

    Parameters
    ----------
    simulator : Simulator
        The model.
    layout : DataLayout
        How data sets are laid out.
    space : ParameterSpace
        With normal scores fitted.
    estimator : Estimator
        Trained.
    """

    def __init__(
        self,
        simulator: Simulator,
        layout: DataLayout,
        space: ParameterSpace,
        estimator: Estimator,
    ) -> None:
        self.simulator = simulator
        self.layout = layout
        self.space = space
        self.estimator = estimator
        density = simulator.density
        self.exact = None if density is None else ExactModel(density, layout)
        self.device = simulator.device
        few = simulator.sample(_NUM_FOR_ATOMS, 0).observations
        self._atoms = find_atoms({name: x.cpu().numpy() for name, x in few.items()})

    def read(self, data: Mapping[str, Any] | None) -> Dataset:
        """Check a user's data, and lay them out; None stands for those of the model."""
        return read_dataset(self.layout, self.simulator.observed_data, data, self._atoms)

    @torch.no_grad()
    def propose(self, units: list[Units], num_draws: int, generator: torch.Generator) -> _Proposals:
        """Draw from the network for B data sets given by scaled units."""
        context = self.estimator.context(units)
        step = max(1, _MAX_ROWS // context.shape[0])
        parts = [
            self.estimator.sample(context, min(step, num_draws - start), generator)
            for start in range(0, num_draws, step)
        ]
        scores = torch.cat([part for part, _ in parts]).double()
        log_q = torch.cat([part for _, part in parts]).double()
        shape = scores.shape[:2]
        if not self.space.size:
            return _Proposals(scores, {}, log_q)
        vector, log_det = self.space.unstandardize(scores.flatten(0, 1))
        parameters = {
            name: x.unflatten(0, shape) for name, x in self.space.constrain(vector).items()
        }
        return _Proposals(
            vector.unflatten(0, shape), parameters, log_q - log_det.unflatten(0, shape)
        )

    @torch.no_grad()
    def log_joint(self, proposals: _Proposals, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over unconstrained parameters; -inf for NaN."""
        shape = proposals.log_q.shape
        log_marginal = self.exact.log_marginal(proposals.parameters, frames)
        if not self.space.size:
            return log_marginal.expand(shape)
        split = self.space.split(proposals.vector.flatten(0, 1))
        log_prior = self.exact.density.log_prior(split).unflatten(0, shape)
        return (log_prior + log_marginal).nan_to_num(
            nan=-math.inf, posinf=-math.inf, neginf=-math.inf
        )

    def pareto_k(
        self, source: SimulationSource, num_datasets: int, num_draws: int, seed: int
    ) -> Tensor:
        """Return Pareto k (B,) of fresh simulated data sets."""
        _, frames, _ = source.draw_frames(num_datasets, seed)
        units = self.estimator.scaled(self.layout.units(frames))
        generator = torch.Generator(device=self.device).manual_seed(seed)
        proposals = self.propose(units, num_draws, generator)
        return pareto_smooth(self.log_joint(proposals, frames) - proposals.log_q)[1]

    def draw_parameters(
        self,
        dataset: Dataset,
        num_draws: int,
        correction: Correction,
        generator: torch.Generator,
    ) -> Draws:
        """Draw parameters for one data set, as correct as asked for and possible."""
        started = time.perf_counter()
        frames = _on(dataset.frames, self.device)
        units = self.estimator.scaled(self.layout.units(_on(dataset.smooth, self.device)))
        if self.exact is None or correction == "none":
            return self._unweighted(units, frames, num_draws, generator, started)
        proposals = self.propose(units, max(_NUM_PROPOSALS, num_draws), generator)
        log_joint = self.log_joint(proposals, frames)
        self._require_support(log_joint)
        log_weight, pareto_k = pareto_smooth(log_joint - proposals.log_q)
        reliable = bool(pareto_k <= pareto_k_threshold(log_joint.shape[0]))
        wanted = _PROPOSALS_PER_DRAW * num_draws
        while reliable and log_joint.shape[0] < _MAX_PROPOSALS:
            if log_joint.shape[0] >= wanted and effective_sample_size(log_weight) >= num_draws:
                break
            more = self.propose(units, log_joint.shape[0], generator)
            log_joint = torch.cat([log_joint, self.log_joint(more, frames)])
            proposals = _joined(proposals, more)
            log_weight, pareto_k = pareto_smooth(log_joint - proposals.log_q)
            reliable = bool(pareto_k <= pareto_k_threshold(log_joint.shape[0]))
        ess = float(effective_sample_size(log_weight))
        accepted = reliable and ess >= min(_ENOUGH, num_draws)
        weighted = accepted or correction == "importance"
        index = torch.arange(num_draws, device=self.device)
        if weighted:
            index = resample(log_weight[:, 0], num_draws, generator)
        raw = (log_joint - proposals.log_q)[index, 0]
        return Draws(
            parameters={name: x[index, 0] for name, x in proposals.parameters.items()},
            vector=proposals.vector[index, 0],
            log_joint=log_joint[index, 0],
            log_q=proposals.log_q[index, 0],
            log_weight=raw,
            rung="importance" if weighted else "network",
            accepted=accepted,
            pareto_k=float(pareto_k),
            importance_ess=ess,
            num_proposals=log_joint.shape[0],
            num_distinct=int(index.unique().numel()),
            seconds=time.perf_counter() - started,
        )

    def _unweighted(
        self,
        units: list[Units],
        frames: Frames,
        num_draws: int,
        generator: torch.Generator,
        started: float,
    ) -> Draws:
        proposals = self.propose(units, num_draws, generator)
        log_joint = None if self.exact is None else self.log_joint(proposals, frames)[:, 0]
        log_q = proposals.log_q[:, 0]
        return Draws(
            parameters={name: x[:, 0] for name, x in proposals.parameters.items()},
            vector=proposals.vector[:, 0],
            log_joint=log_joint,
            log_q=log_q,
            log_weight=None if log_joint is None else log_joint - log_q,
            rung="network",
            accepted=None,
            pareto_k=math.nan,
            importance_ess=math.nan,
            num_proposals=num_draws,
            num_distinct=num_draws,
            seconds=time.perf_counter() - started,
        )

    def _require_support(self, log_joint: Tensor) -> None:
        if bool(torch.isneginf(log_joint).all()):
            raise InvalidDataError(
                "Expected data that the model can produce; it gives them probability zero under "
                f"all {log_joint.shape[0]:,} draws of the network. Look for impossible values, "
                "such as a negative count, or a value outside of a bounded component:\n\n"
                "    pm.sample_prior_predictive(model=model)"
            )

    def draw_indicators(
        self,
        indicator: IndicatorSpec,
        dataset: Dataset,
        draws: Draws,
        generator: torch.Generator,
    ) -> IndicatorDraws:
        """Draw an indicator for each draw of the parameters, and average its probabilities."""
        frames = _on(dataset.frames, self.device)
        num_draws = draws.log_q.shape[0]
        values, total = [], 0.0
        for piece, log_probs in self._log_probs(indicator, dataset, draws, frames):
            count = len(range(*piece.indices(num_draws)))
            probabilities = log_probs.expand(count, *log_probs.shape[1:]).exp()
            total = total + probabilities.sum(0)
            edges = probabilities.cumsum(-1)[..., :-1]
            uniform = torch.rand(
                probabilities.shape[:-1],
                generator=generator,
                device=self.device,
                dtype=probabilities.dtype,
            )
            codes = (uniform.unsqueeze(-1) > edges).sum(-1)
            values.append(codes + indicator.support[0])
        gap = self._gap(indicator, dataset, draws, frames)
        return IndicatorDraws(torch.cat(values), total / num_draws, gap)

    def _log_probs(
        self, indicator: IndicatorSpec, dataset: Dataset, draws: Draws, frames: Frames
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield log p(z given y, θ) (s, *units, K) for pieces of the draws."""
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        if self.exact is not None:
            for piece in self.exact.pieces(parameters, frames):
                part = {name: x[piece] for name, x in parameters.items()}
                joint = self.exact.log_units(indicator.name, part, frames)[:, 0]
                yield (
                    piece if parameters else slice(0, draws.log_q.shape[0]),
                    self._in_order(indicator, dataset, joint.log_softmax(-1)),
                )
            return
        yield from self._by_network(indicator, dataset, draws, frames)

    @torch.no_grad()
    def _by_network(
        self, indicator: IndicatorSpec, dataset: Dataset, draws: Draws, frames: Frames
    ) -> Iterator[tuple[slice, Tensor]]:
        index = self.layout.table_of(indicator.name)
        table = self.layout.tables[index]
        units = self.estimator.scaled(self.layout.units(frames))[index]
        features = self.space.features(draws.vector, draws.parameters)
        num_draws, num_rows = draws.log_q.shape[0], units.mask.shape[1]
        step = max(1, 4 * _MAX_ROWS // num_rows)
        for start in range(0, num_draws, step):
            piece = slice(start, min(start + step, num_draws))
            part = features[piece]
            repeated = Units(
                units.values.expand(len(part), *units.values.shape[1:]),
                units.mask.expand(len(part), -1),
            )
            log_q = self.estimator.classify(index, repeated, part).double()
            if not table.grouped:
                shape = (len(part), frames.num_frames, *indicator.units, log_q.shape[-1])
                log_q = self._prior_where_missing(
                    indicator, frames, index, draws, piece, log_q.reshape(shape)
                )
            else:
                log_q = log_q.reshape(len(part), 1, *indicator.units, log_q.shape[-1])
            yield piece, self._in_order(indicator, dataset, log_q)

    def _prior_where_missing(
        self,
        indicator: IndicatorSpec,
        frames: Frames,
        index: int,
        draws: Draws,
        piece: slice,
        log_q: Tensor,
    ) -> Tensor:
        selected = frames.selected[index][0]  # (m, R)
        if bool(selected.all()):
            return log_q
        ordered = [draws.parameters[p.name][piece].double() for p in self.layout.spec.parameters]
        prior = self.simulator.log_indicator_probabilities(indicator.name, ordered)
        spread = selected.reshape(*selected.shape, *(1,) * (log_q.ndim - 3))
        return torch.where(spread, log_q, prior.unsqueeze(1).to(log_q.dtype))

    def _in_order(self, indicator: IndicatorSpec, dataset: Dataset, table: Tensor) -> Tensor:
        """Bring frames (s, m, *units, K) into the order of the user's rows (s, *units, K)."""
        index = self.layout.table_of(indicator.name)
        if index is None or self.layout.tables[index].grouped or not indicator.units:
            return table[:, 0]
        where = torch.as_tensor(dataset.positions[index], device=table.device)
        return table.flatten(1, 2)[:, where]

    @torch.no_grad()
    def _gap(
        self, indicator: IndicatorSpec, dataset: Dataset, draws: Draws, frames: Frames
    ) -> float:
        """Return how far the network's probabilities are from the exact ones, in nats per unit."""
        index = self.layout.table_of(indicator.name)
        if self.exact is None or index is None or not self.space.size:
            return math.nan  # without parameters the exact table has no axis of draws
        few = _first(draws, _DRAWS_FOR_GAP)
        exact = torch.cat([p for _, p in self._log_probs(indicator, dataset, few, frames)])
        network = torch.cat([p for _, p in self._by_network(indicator, dataset, few, frames)])
        terms = exact.exp() * (exact - network)
        return float(torch.where(exact.exp() > 0, terms, torch.zeros_like(terms)).sum(-1).mean())


def check_correction(correction: str) -> None:
    """Refuse what is not a correction.

    Raises
    ------
    InvalidArgumentError
        If it is none of "auto", "none" and "importance".
    """
    known = ("auto", "none", "importance")
    if correction not in known:
        raise InvalidArgumentError(
            f"Expected correction to be one of {list(known)}; got {correction!r}."
        )


def check_count(name: str, value: Any) -> int:
    """Return a count of draws or chains.

    Raises
    ------
    InvalidArgumentError
        If it is not a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidArgumentError(f"Expected {name} to be at least 1; got {value!r}.")
    return int(value)


def _first(draws: Draws, number: int) -> Draws:
    parameters = {name: x[:number] for name, x in draws.parameters.items()}
    return replace(
        draws, parameters=parameters, vector=draws.vector[:number], log_q=draws.log_q[:number]
    )


def _joined(first: _Proposals, second: _Proposals) -> _Proposals:
    return _Proposals(
        torch.cat([first.vector, second.vector]),
        {name: torch.cat([x, second.parameters[name]]) for name, x in first.parameters.items()},
        torch.cat([first.log_q, second.log_q]),
    )


def _on(frames: Frames, device: torch.device) -> Frames:
    return Frames(
        {name: x.to(device) for name, x in frames.observations.items()},
        {name: x.to(device) for name, x in frames.covariates.items()},
        tuple(x.to(device) for x in frames.selected),
    )
