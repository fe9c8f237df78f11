"""Where proposals are made and corrected: the space in which a network's own draws are simple."""

from abc import ABC, abstractmethod

import torch

from torch import Tensor

from pymc_amortized.importance.student_mixture import StudentMixture, fit_student_mixture
from pymc_amortized.networks.contracts import (
    AbstractFlow,
    AbstractLatentNetwork,
    log_standard_normal,
)
from pymc_amortized.networks.estimator import Estimator

__all__ = ["ProposalSpace", "proposal_space"]

_MAX_ROWS = 65_536
_DRAWS_TO_FIT = 2_000
_MAX_FITTED = 256
_NUM_LATENTS = 16


class ProposalSpace(ABC):
    """A space of points, in which the network is a density, and which stand for scores.

    Scores are standardized parameters. Points (S, B, D) belong to B data sets, with contexts
    (B, C).

    Parameters
    ----------
    estimator : Estimator
        Holds the network.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator

    @abstractmethod
    def draw(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return points (S, B, D) drawn from the network, and their log densities (S, B)."""

    @abstractmethod
    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        """Return the network's log density (S, B) of points, in nats, that it has not drawn."""

    @abstractmethod
    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (S, B, D) that points stand for, and log determinants (S, B)."""

    @abstractmethod
    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (S, B, D) of scores, and log determinants (S, B)."""


class _BaseSpace(ProposalSpace):
    """The base of a flow, where the network is a standard normal distribution."""

    def draw(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        shape = (num_draws, context.shape[0], self._flow.num_parameters)
        options = {"dtype": context.dtype, "device": context.device}
        points = torch.randn(shape, generator=generator, **options).double()
        return points, log_standard_normal(points)

    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        return log_standard_normal(points)

    @torch.no_grad()
    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return _join([self._flow.from_base(part, context) for part in _parts(points, context)])

    @torch.no_grad()
    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return _join([self._flow.to_base(part, context) for part in _parts(scores, context)])

    @property
    def _flow(self) -> AbstractFlow:
        return self.estimator.posterior


class _Scores(ProposalSpace):
    """Points that are the scores themselves."""

    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.zeros_like(points[..., :1]).sum(-1)

    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_scores(scores, context)


class _ScoreSpace(_Scores):
    """The scores themselves, for a network of which no more is known than its density."""

    @torch.no_grad()
    def draw(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        numbers = _numbers(num_draws, context)
        parts = [self.estimator.sample(context, number, generator) for number in numbers]
        points = torch.cat(parts).double()
        return points, self.log_prob(points, context)

    @torch.no_grad()
    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        parts = [self.estimator.log_prob(part, context) for part in _parts(points, context)]
        return torch.cat(parts).double()


class _LatentSpace(_Scores):
    """The scores, for a network of latent numbers, by which its density is estimated.

    Of its own draws, the numbers that made them are among these: weights are exact then, however
    few there are.
    """

    @torch.no_grad()
    def draw(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        pieces = []
        for number in _numbers(num_draws, context, _NUM_LATENTS):
            points, latents = self._network.sample_with_latents(context, number, generator)
            log_q = self._network.estimate_log_prob(
                points, context, _NUM_LATENTS, generator, first=latents
            )
            pieces.append((points, log_q))
        return _join(pieces)

    @torch.no_grad()
    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        generator = torch.Generator(device=context.device).manual_seed(0)
        return torch.cat(
            [
                self._network.estimate_log_prob(part, context, _NUM_LATENTS, generator)
                for part in _parts(points, context, _NUM_LATENTS)
            ]
        ).double()

    @property
    def _network(self) -> AbstractLatentNetwork:
        return self.estimator.posterior


class _FittedSpace(_Scores):
    """The scores, for a network that draws, and knows no density: a mixture fitted to its draws.

    Proposals are draws of the mixture, whose density is known. It is fitted once for each data set
    of a batch, to draws that are always the same.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__(estimator)
        self._fitted: dict[tuple[int, bytes], StudentMixture] = {}

    def draw(
        self, context: Tensor, num_draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        points = self._mixtures(context).sample(num_draws, generator)
        return points, self.log_prob(points, context)

    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        return self._mixtures(context).log_prob(points)

    @torch.no_grad()
    def _mixtures(self, context: Tensor) -> StudentMixture:
        # Training changes weights, and perhaps no context.
        version = sum(weight._version for weight in self.estimator.parameters())
        keys = [(version, row.numpy().tobytes()) for row in context.cpu()]
        if len(self._fitted) > _MAX_FITTED:
            self._fitted.clear()
        for b, key in enumerate(keys):
            if key not in self._fitted:
                self._fitted[key] = self._fit(context[b : b + 1])
        parts = [self._fitted[key] for key in keys]
        return StudentMixture(
            torch.cat([part.log_weights for part in parts]),
            torch.cat([part.location for part in parts]),
            torch.cat([part.scale_tril for part in parts]),
        )

    def _fit(self, context: Tensor) -> StudentMixture:
        generator = torch.Generator(device=context.device).manual_seed(0)
        points = self.estimator.sample(context, _DRAWS_TO_FIT, generator).double()
        equal = torch.zeros_like(points[..., 0])
        return fit_student_mixture(points, equal, generator=generator)


def proposal_space(estimator: Estimator) -> ProposalSpace:
    """Return the base of the estimator's network if it is a flow, or else the scores.

    Of a network of latent numbers, densities are estimated; of any other that has no density,
    proposals are draws of a mixture that is fitted to its own.
    """
    if isinstance(estimator.posterior, AbstractFlow):
        return _BaseSpace(estimator)
    if isinstance(estimator.posterior, AbstractLatentNetwork):
        return _LatentSpace(estimator)
    return _ScoreSpace(estimator) if estimator.has_density else _FittedSpace(estimator)


def _parts(points: Tensor, context: Tensor, each: int = 1) -> tuple[Tensor, ...]:
    """Return points in a network's precision, so many at a time as memory allows."""
    return points.to(context.dtype).split(_at_once(context, each))


def _numbers(num_draws: int, context: Tensor, each: int = 1) -> list[int]:
    """Return how many draws are made one after the other."""
    step = _at_once(context, each)
    return [min(step, num_draws - start) for start in range(0, num_draws, step)]


def _at_once(context: Tensor, each: int) -> int:
    return max(1, _MAX_ROWS // max(1, each * context.shape[0]))


def _join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    points, log_det = zip(*parts, strict=True)
    return torch.cat(points).double(), torch.cat(log_det).double()
