"""A trained network and the model that it was trained for: draws, densities, data."""

import copy
import functools
import math

from collections.abc import Mapping
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.datasets import Dataset, read_dataset
from pymc_amortized.distance import SummaryReference, fit_summary_reference
from pymc_amortized.errors import InvalidDataError
from pymc_amortized.estimator import Estimator
from pymc_amortized.exact import ExactModel
from pymc_amortized.frames import Frames
from pymc_amortized.importance import pareto_smooth
from pymc_amortized.layout import DataLayout
from pymc_amortized.networks.contracts import Units
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.proposal_space import proposal_space
from pymc_amortized.simulator import Simulator
from pymc_amortized.source import SimulationSource
from pymc_amortized.ties import find_atoms

__all__ = ["Inference"]

_NUM_FOR_ATOMS = 200
_NUM_FOR_REFERENCE = 6_000
_NUM_AT_ONCE = 500


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
    reference : SummaryReference, optional
        Where summaries of simulated data sets lie.
    """

    def __init__(
        self,
        simulator: Simulator,
        layout: DataLayout,
        space: ParameterSpace,
        estimator: Estimator,
        reference: SummaryReference | None = None,
    ) -> None:
        self.simulator = simulator
        self.layout = layout
        self.space = space
        self.estimator = estimator
        self.reference = reference
        density = simulator.density
        self.exact = None if density is None else ExactModel(density, layout)
        self.proposals = proposal_space(estimator)
        self.device = simulator.device
        few = simulator.sample(_NUM_FOR_ATOMS, 0).observations
        self._atoms = find_atoms({name: x.cpu().numpy() for name, x in few.items()})

    def read(self, data: Mapping[str, Any] | None, *, any_size: bool = False) -> Dataset:
        """Check a user's data, and lay them out; None stands for those of the model.

        Of any size they can be read only for what needs no network that was trained for it.
        """
        self._require_unchanged(data)
        observed = self.simulator.observed_data
        return read_dataset(self.layout, observed, data, self._atoms, any_size=any_size)

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

    def without_density(self) -> "Inference":
        """Return the same, as if nothing could be checked or corrected."""
        alone = copy.copy(self)
        alone.exact = None
        return alone

    @torch.no_grad()
    def summarize(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Return contexts (B, C) of data sets as networks see them, and longer summaries of them.

        Summaries hold the moments and the range of each feature besides, for a network may well
        map data that it has never seen to contexts that it has.
        """
        units = self.estimator.scaled(self.layout.units(frames))
        context = self.estimator.context(units)
        return context, torch.cat([context, *(_moments(table) for table in units)], dim=-1)

    def context(self, frames: Frames) -> Tensor:
        """Return the contexts (B, C) of data sets as networks see them."""
        return self.summarize(frames)[0]

    def simulation_quantile(self, summaries: Tensor) -> Tensor:
        """Return how far from simulated data sets summaries (B, C) lie; NaN if that is not known.

        The share (B,) of simulated data sets that lie as near to their mean.
        """
        if self.reference is None:
            return torch.full(summaries.shape[:1], math.nan, dtype=torch.float64)
        return self.reference.quantile(summaries)

    def with_reference(self, source: SimulationSource, seed: int) -> "Inference":
        """Return the same, with summaries of simulated data sets to compare others with."""
        parts = [
            self.summarize(source.draw_frames(_NUM_AT_ONCE, seed + i)[1])[1]
            for i in range(_NUM_FOR_REFERENCE // _NUM_AT_ONCE)
        ]
        reference = fit_summary_reference(torch.cat(parts))
        return Inference(self.simulator, self.layout, self.space, self.estimator, reference)

    def draw_scores(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw standardized parameters (S, B, D) from the network, with log q (S, B)."""
        points = self.proposals.draw(context, num_draws, generator)
        scores, log_det = self.proposals.to_scores(points, context)
        return scores, self.proposals.log_prob(points, context) - log_det

    def log_network(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log q (S, B) in nats of standardized parameters (S, B, D)."""
        points, log_det = self.proposals.from_scores(scores, context)
        return self.proposals.log_prob(points, context) + log_det

    def log_target_of(self, points: Tensor, context: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over the space of proposals."""
        scores, log_det = self.proposals.to_scores(points, context)
        return self.log_target(scores, frames) + log_det

    @torch.no_grad()
    def log_target(self, scores: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over standardized parameters; -inf for NaN."""
        shape = scores.shape[:2]
        if not self.space.size:
            return self.exact.log_marginal({}, frames).expand(shape)
        vector, log_det = self.space.unstandardize(scores.flatten(0, 1))
        return self.log_joint(vector.unflatten(0, shape), frames) + log_det.unflatten(0, shape)

    @torch.no_grad()
    def log_joint(self, vector: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over unconstrained parameters; -inf for NaN."""
        shape, flat = vector.shape[:2], vector.flatten(0, 1)
        log_marginal = self.exact.log_marginal(self._constrained(flat, shape), frames)
        log_prior = self.exact.density.log_prior(self.space.split(flat)).unflatten(0, shape)
        return (log_prior + log_marginal).nan_to_num(
            nan=-math.inf, posinf=-math.inf, neginf=-math.inf
        )

    @functools.cached_property
    def log_prior_mass(self) -> tuple[float, float]:
        """Log probability of the region of the prior, in nats, and its standard error."""
        return self.simulator.log_prior_mass()

    def parameters(self, scores: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return unconstrained vectors, constrained parameters, and log |dv/ds| of (S, B, D)."""
        shape = scores.shape[:2]
        if not self.space.size:
            return scores, {}, scores.new_zeros(shape)
        vector, log_det = self.space.unstandardize(scores.flatten(0, 1))
        constrained = self._constrained(vector, shape)
        return vector.unflatten(0, shape), constrained, log_det.unflatten(0, shape)

    def _constrained(self, vector: Tensor, shape: torch.Size) -> dict[str, Tensor]:
        return {name: x.unflatten(0, shape) for name, x in self.space.constrain(vector).items()}

    def pareto_k(
        self, source: SimulationSource, num_datasets: int, num_draws: int, seed: int
    ) -> Tensor:
        """Return Pareto k (B,) of fresh simulated data sets."""
        _, frames, _ = source.draw_frames(num_datasets, seed)
        generator = torch.Generator(device=self.device).manual_seed(seed)
        scores, log_q = self.draw_scores(self.context(frames), num_draws, generator)
        return pareto_smooth(self.log_target(scores, frames) - log_q)[1]


def _moments(units: Units) -> Tensor:
    """Return mean, standard deviation and range of each feature of scaled units, (B, 4 F)."""
    known = units.mask.unsqueeze(-1)
    x, count = units.values, known.sum(1).clamp(min=1)
    mean = x.masked_fill(~known, 0.0).sum(1) / count
    squares = (x - mean.unsqueeze(1)).square().masked_fill(~known, 0.0).sum(1) / count
    low = x.masked_fill(~known, math.inf).amin(1).nan_to_num(posinf=0.0)
    high = x.masked_fill(~known, -math.inf).amax(1).nan_to_num(neginf=0.0)
    return torch.cat([mean, squares.sqrt(), low, high], dim=-1)
