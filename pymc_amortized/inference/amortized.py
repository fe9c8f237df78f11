"""A trained network and the model that it was trained for: draws and their densities."""

import functools
import math

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.frames import Frames
from pymc_amortized.data.ties import find_atoms
from pymc_amortized.errors import InvalidArgumentError, InvalidDataError
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.weights import pareto_smooth, weigh
from pymc_amortized.inference.draws import Correction
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.inference.problem import Problem
from pymc_amortized.inference.proposals import ProposalSpace, proposal_space
from pymc_amortized.inference.typicality import (
    Coverage,
    SummaryReference,
    fit_summary_reference,
)
from pymc_amortized.networks.contracts import no_density
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.networks.units import Units
from pymc_amortized.simulation.simulations import AbstractSimulations

__all__ = ["Amortized"]

_NUM_FOR_ATOMS = 200
_NUM_FOR_REFERENCE = 6_000
_FEWEST_FOR_REFERENCE = 2_000
_MAX_AT_ONCE = 500
_SHARE_TO_COVER = 0.1
_FOR_ANY = "Train one that answers any:\n\n    posterior = pma.fit(model)"


@dataclass(frozen=True, eq=False)
class Amortized:
    """A model with networks that were trained for it: all that answers data sets.

    Attributes
    ----------
    problem : Problem
        The model, how its data are laid out, and its density. Normal scores are fitted.
    estimator : Estimator
        Trained.
    reference : SummaryReference or None
        Where summaries of simulated data sets lie.
    atoms : mapping of str to numpy.ndarray
        Values that simulations repeat, by variable.
    coverage : Coverage or None
        Whether the network draws wherever posteriors of simulated data sets have mass.
    only : str
        Digest of the one data set that the network was trained for; empty where it is for any.
    """

    problem: Problem
    estimator: Estimator
    reference: SummaryReference | None
    atoms: Mapping[str, np.ndarray]
    coverage: Coverage | None = None
    only: str = ""

    @staticmethod
    def of_networks(
        problem: Problem,
        estimator: Estimator,
        reference: SummaryReference | None = None,
        simulations: AbstractSimulations | None = None,
        atoms: Mapping[str, np.ndarray] | None = None,
    ) -> "Amortized":
        """Put a model and its networks together; simulations that are there spare new ones."""
        if atoms is not None:
            return Amortized(problem, estimator, reference, atoms)
        if simulations is None:
            few = problem.simulator.sample(_NUM_FOR_ATOMS, 0).observations
        else:
            frames = simulations.draw_frames(_NUM_FOR_ATOMS, 0)[1]
            few = {name: x[:, 0] for name, x in frames.observations.items()}
        atoms = find_atoms({name: x.cpu().numpy() for name, x in few.items()})
        return Amortized(problem, estimator, reference, atoms)

    def with_exact(self, exact: ExactModel | None) -> "Amortized":
        """Return the same with another density; None: as if nothing could be checked."""
        return replace(self, problem=self.problem.with_exact(exact))

    def only_for(self, data: str) -> "Amortized":
        """Return the same, for the one data set of a digest; for any, if that is empty."""
        return replace(self, only=data)

    @functools.cached_property
    def proposals(self) -> ProposalSpace:
        """The space in which the network's draws are simple."""
        return proposal_space(self.estimator)

    def require_training_for(self, correction: Correction) -> None:
        """Refuse to answer by the prior alone.

        Raises
        ------
        InvalidArgumentError
            If draws of the network are asked for, and nothing has been trained.
        """
        if correction == "none" and self.problem.space.size and not self.estimator.is_trained:
            raise InvalidArgumentError(
                'Expected a trained network for correction="none"; without training, its draws '
                "would be those of the prior. Train one, or have the prior corrected:\n\n"
                '    pma.fit(model, training="fast")\n    posterior.sample(correction="auto")'
            )

    def read(self, data: Mapping[str, Any] | None, *, any_size: bool = False) -> Dataset:
        """Check a user's data, and lay them out; None stands for those of the model.

        Of a network that was trained for one data set, that is the only one.
        """
        dataset = self.problem.read(data, self.atoms, any_size=any_size)
        if self.only and not any_size and dataset.digest != self.only:
            raise InvalidDataError(
                "Expected the data set that this network was trained for, in rounds; got another. "
                f"{_FOR_ANY}"
            )
        return dataset

    def require_any_data(self, what: str) -> None:
        """Refuse what takes other data sets than the one that a network was trained for.

        Raises
        ------
        InvalidArgumentError
            If it was trained in rounds.
        """
        if self.only:
            raise InvalidArgumentError(
                f"Expected a network that answers any data set, for {what}; this one was trained "
                f"in rounds for one. {_FOR_ANY}"
            )

    def units(self, frames: Frames) -> list[Units]:
        """Return the scaled units of data sets, one for each table."""
        return self.estimator.scaled(self.problem.layout.units(frames))

    @torch.no_grad()
    def summarize(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Return contexts (B, C) of data sets as networks see them, and longer summaries of them.

        Summaries hold the moments and the range of each feature besides, for a network may well
        map data that it has never seen to contexts that it has.
        """
        units = self.units(frames)
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

    def with_reference(
        self, source: AbstractSimulations, seed: int, num_seen: int | None = None
    ) -> "Amortized":
        """Return the same, with summaries of simulated data sets to compare others with.

        Of fewer, but 2,000 at least, than a tenth of those that a network has seen.
        """
        at_once = min(_MAX_AT_ONCE, source.datasets_at_once)
        number = _NUM_FOR_REFERENCE
        if num_seen is not None:
            number = min(number, max(_FEWEST_FOR_REFERENCE, num_seen // 10))
        parts = [self.summarize(frames)[1] for _, frames, _ in source.pieces(number, at_once, seed)]
        return replace(self, reference=fit_summary_reference(torch.cat(parts)))

    def tensors(self) -> dict[str, Tensor]:
        """Return all numbers that were trained, or fitted to simulations, by name."""
        tensors = {f"estimator.{name}": x for name, x in self.estimator.state_dict().items()}
        scores, reference = self.problem.space.normal_scores, self.reference
        for name in ("knots", "scores", "slopes") if scores is not None else ():
            tensors[f"normal_scores.{name}"] = getattr(scores, name)
        for name in ("location", "whitening", "distances") if reference is not None else ():
            tensors[f"reference.{name}"] = getattr(reference, name)
        for name, values in self.atoms.items():
            tensors[f"atoms.{name}"] = torch.tensor(values.tolist(), dtype=torch.float64)
        for i, network in enumerate(self.problem.simulator.likelihood_networks.values()):
            named = network.state_dict().items()
            tensors |= {f"likelihood.{i}.{name}": x for name, x in named}
        if self.coverage is not None:
            counts = self.coverage.num_accepted, self.coverage.num_missed
            tensors["coverage.counts"] = torch.tensor(counts)
        return tensors

    @torch.no_grad()
    def draw_scores(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw standardized parameters (S, B, D) from the network, with log q (S, B).

        NaN where the network does not know its density.
        """
        if not self.estimator.has_density:
            scores = self.estimator.sample(context, num_draws, generator).double()
            return scores, torch.full_like(scores[..., 0], math.nan)
        points, log_q = self.proposals.draw(context, num_draws, generator)
        scores, log_det = self.proposals.to_scores(points, context)
        return scores, log_q - log_det

    def log_network(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log q (S, B) in nats of standardized parameters (S, B, D); NaN if not known."""
        if not self.estimator.has_density:
            return torch.full_like(scores[..., 0], math.nan)
        points, log_det = self.proposals.from_scores(scores, context)
        return self.proposals.log_prob(points, context) + log_det

    @torch.no_grad()
    def log_posterior(
        self, parameters: Mapping[str, Any], dataset: Dataset, *, any_labels: bool
    ) -> Tensor:
        """Return log q (S,) in nats of parameters (S, *shape), unconstrained as in the model.

        Those that are out of canonical order have density 0, unless ``any_labels`` stands for all
        orders alike.
        """
        if not self.estimator.has_density:
            raise no_density(self.estimator.posterior)
        self.require_training_for("none")
        labelling, log_count, space = self.problem.labelling, 0.0, self.problem.space
        parameters = {
            name: torch.as_tensor(np.asarray(x, dtype=float), device=self.problem.device)
            for name, x in parameters.items()
        }
        if any_labels:
            parameters, log_count = labelling.arrange(parameters), labelling.log_count
        vector, inside = space.unconstrain_within(parameters)
        scores, log_det = space.standardize(vector)
        context = self.context(dataset.smooth.to(self.problem.device))
        log_q = self.log_network(scores.unsqueeze(1), context)[:, 0] + log_det
        log_q = log_q - labelling.log_jacobian(parameters) - log_count
        return log_q.masked_fill(~inside, -math.inf)

    def log_target_of(self, points: Tensor, context: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over the space of proposals."""
        scores, log_det = self.proposals.to_scores(points, context)
        return self.problem.log_target(scores, frames) + log_det

    def with_coverage(
        self, source: AbstractSimulations, num_datasets: int, num_draws: int, seed: int
    ) -> "Amortized":
        """Return the same, with what simulated data sets say of where the network draws."""
        parameters, frames, _ = source.draw_frames(num_datasets, seed)
        generator = torch.Generator(device=self.problem.device).manual_seed(seed)
        context = self.context(frames)
        points, log_q = self.proposals.draw(context, num_draws, generator)
        log_weights = self.log_target_of(points, context, frames) - log_q
        log_evidence, _ = log_mean_weight(log_weights)
        space = self.problem.space
        scores, _ = space.standardize(space.unconstrain(parameters))
        log_posterior = self.problem.log_target(scores[None], frames)[0] - log_evidence
        log_ratio = log_posterior - self.log_network(scores[None], context)[0]
        accepted = AcceptanceRule(ess=_SHARE_TO_COVER * num_draws).accepts(weigh(log_weights))
        return replace(self, coverage=Coverage.of_ratios(log_ratio, accepted))

    def pareto_k(
        self, source: AbstractSimulations, num_datasets: int, num_draws: int, seed: int
    ) -> Tensor:
        """Return Pareto k (B,) of fresh simulated data sets."""
        _, frames, _ = source.draw_frames(num_datasets, seed)
        generator = torch.Generator(device=self.problem.device).manual_seed(seed)
        context = self.context(frames)
        points, log_q = self.proposals.draw(context, num_draws, generator)
        return pareto_smooth(self.log_target_of(points, context, frames) - log_q)[1]


def _moments(units: Units) -> Tensor:
    """Return mean, standard deviation and range of each feature of scaled units, (B, 4 F)."""
    known = units.mask.unsqueeze(-1)
    x, count = units.values, known.sum(1).clamp(min=1)
    mean = x.masked_fill(~known, 0.0).sum(1) / count
    squares = (x - mean.unsqueeze(1)).square().masked_fill(~known, 0.0).sum(1) / count
    low = x.masked_fill(~known, math.inf).amin(1).nan_to_num(posinf=0.0)
    high = x.masked_fill(~known, -math.inf).amax(1).nan_to_num(neginf=0.0)
    return torch.cat([mean, squares.sqrt(), low, high], dim=-1)
