"""Draws of parameters for a data set, weighed against the model's own density."""

import math

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from torch import Tensor

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

    def first(self, number: int) -> "Draws":
        """Return the first draws alone, what is known of all of them unchanged."""
        return replace(
            self,
            parameters={name: x[:number] for name, x in self.parameters.items()},
            vector=self.vector[:number],
            log_joint=None if self.log_joint is None else self.log_joint[:number],
            log_q=self.log_q[:number],
            log_weight=None if self.log_weight is None else self.log_weight[:number],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Proposals:
    """Draws of the network: unconstrained (S, B, D), constrained, and log q (S, B)."""

    vector: Tensor
    parameters: dict[str, Tensor]
    log_q: Tensor


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the weights of draws say of them; nothing, by default."""

    accepted: bool | None = None
    pareto_k: float = math.nan
    importance_ess: float = math.nan


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
        self._require_unchanged(data)
        return read_dataset(self.layout, self.simulator.observed_data, data, self._atoms)

    def _require_unchanged(self, data: Mapping[str, Any] | None) -> None:
        """Refuse to answer for data that the model no longer holds."""
        spec = self.simulator.spec
        conditions = {c.name for c in spec.covariates}
        changed = self.simulator.changed_data
        if data is not None:
            changed = tuple(name for name in changed if name in conditions and name not in data)
        if not changed:
            return
        names = [o.name for o in spec.observations] + [n for n in changed if n in conditions]
        given = ", ".join(f'"{name}": ...' for name in names)
        raise InvalidDataError(
            f"Expected the data that the model held when it was read; {list(changed)} have been "
            "changed since, by pm.set_data. Read the model again (a network that fits is found in "
            "the cache), or give the data by name:\n\n"
            f"    posterior = pma.fit(model)\n    posterior.sample({{{given}}})"
        )

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
        frames = dataset.frames.to(self.device)
        units = self.estimator.scaled(self.layout.units(dataset.smooth.to(self.device)))
        if self.exact is None or correction == "none":
            proposals = self.propose(units, num_draws, generator)
            log_joint = None if self.exact is None else self.log_joint(proposals, frames)
            return _draws(proposals, log_joint, _Verdict())
        proposals = self.propose(units, max(_NUM_PROPOSALS, num_draws), generator)
        log_joint = self.log_joint(proposals, frames)
        self._require_support(log_joint)
        log_weight, pareto_k, reliable = _smoothed(log_joint - proposals.log_q)
        wanted = _PROPOSALS_PER_DRAW * num_draws
        while reliable and log_joint.shape[0] < _MAX_PROPOSALS:
            if log_joint.shape[0] >= wanted and effective_sample_size(log_weight) >= num_draws:
                break
            more = self.propose(units, log_joint.shape[0], generator)
            log_joint = torch.cat([log_joint, self.log_joint(more, frames)])
            proposals = _joined(proposals, more)
            log_weight, pareto_k, reliable = _smoothed(log_joint - proposals.log_q)
        ess = float(effective_sample_size(log_weight))
        verdict = _Verdict(reliable and ess >= min(_ENOUGH, num_draws), pareto_k, ess)
        if verdict.accepted or correction == "importance":
            index = resample(log_weight[:, 0], num_draws, generator)
            return _draws(proposals, log_joint, verdict, index, "importance")
        index = torch.arange(num_draws, device=self.device)
        return _draws(proposals, log_joint, verdict, index)

    def _require_support(self, log_joint: Tensor) -> None:
        if bool(torch.isneginf(log_joint).all()):
            raise InvalidDataError(
                "Expected data that the model can produce; it gives them probability zero under "
                f"all {log_joint.shape[0]:,} draws of the network. Look for impossible values, "
                "such as a negative count, or a value outside of a bounded component:\n\n"
                "    pm.sample_prior_predictive(model=model)"
            )


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


def _smoothed(log_weight: Tensor) -> tuple[Tensor, float, bool]:
    """Return smoothed log weights (S, 1) of one data set, Pareto k, and whether it is low."""
    smooth, pareto_k = pareto_smooth(log_weight)
    return smooth, float(pareto_k), bool(pareto_k <= pareto_k_threshold(log_weight.shape[0]))


def _draws(
    proposals: _Proposals,
    log_joint: Tensor | None,
    verdict: _Verdict,
    index: Tensor | None = None,
    rung: str = "network",
) -> Draws:
    """Return the draws of one data set that an index (S,) picks; all of them without one."""
    num_proposals = proposals.log_q.shape[0]
    if index is None:
        index = torch.arange(num_proposals, device=proposals.log_q.device)
    log_q = proposals.log_q[index, 0]
    log_joint = None if log_joint is None else log_joint[index, 0]
    return Draws(
        parameters={name: x[index, 0] for name, x in proposals.parameters.items()},
        vector=proposals.vector[index, 0],
        log_joint=log_joint,
        log_q=log_q,
        log_weight=None if log_joint is None else log_joint - log_q,
        rung=rung,
        accepted=verdict.accepted,
        pareto_k=verdict.pareto_k,
        importance_ess=verdict.importance_ess,
        num_proposals=num_proposals,
        num_distinct=int(index.unique().numel()),
    )


def _joined(first: _Proposals, second: _Proposals) -> _Proposals:
    return _Proposals(
        torch.cat([first.vector, second.vector]),
        {name: torch.cat([x, second.parameters[name]]) for name, x in first.parameters.items()},
        torch.cat([first.log_q, second.log_q]),
    )
