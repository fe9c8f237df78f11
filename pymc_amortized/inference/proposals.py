"""Where proposals are made and corrected: the space in which a network's own draws are simple."""

from abc import ABC, abstractmethod

import torch

from torch import Tensor

from pymc_amortized.importance.student_mixture import StudentMixture, fit_student_mixture
from pymc_amortized.networks.contracts import AbstractFlow, log_standard_normal
from pymc_amortized.networks.estimator import Estimator

__all__ = ["ProposalSpace", "proposal_space"]

_MAX_ROWS = 65_536
_DRAWS_TO_FIT = 2_000
_MAX_FITTED = 256


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
    def draw(self, context: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
        """Return points (S, B, D) drawn from the network."""

    @abstractmethod
    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        """Return the network's log density (S, B) of points, in nats."""

    @abstractmethod
    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (S, B, D) that points stand for, and log determinants (S, B)."""

    @abstractmethod
    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (S, B, D) of scores, and log determinants (S, B)."""


class _BaseSpace(ProposalSpace):
    """The base of a flow, where the network is a standard normal distribution."""

    def draw(self, context: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
        shape = (num_draws, context.shape[0], self._flow.num_parameters)
        options = {"dtype": context.dtype, "device": context.device}
        return torch.randn(shape, generator=generator, **options).double()

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


class _ScoreSpace(ProposalSpace):
    """The scores themselves, for a network of which no more is known than its density."""

    @torch.no_grad()
    def draw(self, context: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
        step = max(1, _MAX_ROWS // context.shape[0])
        numbers = [min(step, num_draws - start) for start in range(0, num_draws, step)]
        parts = [self.estimator.sample(context, number, generator) for number in numbers]
        return torch.cat(parts).double()

    @torch.no_grad()
    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        parts = [self.estimator.log_prob(part, context) for part in _parts(points, context)]
        return torch.cat(parts).double()

    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.zeros_like(points[..., :1]).sum(-1)

    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_scores(scores, context)


class _FittedSpace(ProposalSpace):
    """The scores, for a network that draws, and knows no density: a mixture fitted to its draws.

    Proposals are draws of the mixture, whose density is known. It is fitted once for each data set
    of a batch, to draws that are always the same.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__(estimator)
        self._fitted: dict[tuple[int, bytes], StudentMixture] = {}

    def draw(self, context: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
        return self._mixtures(context).sample(num_draws, generator)

    def log_prob(self, points: Tensor, context: Tensor) -> Tensor:
        return self._mixtures(context).log_prob(points)

    def to_scores(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return points, torch.zeros_like(points[..., :1]).sum(-1)

    def from_scores(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_scores(scores, context)

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

    Of a network without a density, proposals are draws of a mixture that is fitted to its own.
    """
    if isinstance(estimator.posterior, AbstractFlow):
        return _BaseSpace(estimator)
    return _ScoreSpace(estimator) if estimator.has_density else _FittedSpace(estimator)


def _parts(points: Tensor, context: Tensor) -> tuple[Tensor, ...]:
    """Return points in a network's precision, so many at a time as memory allows."""
    return points.to(context.dtype).split(max(1, _MAX_ROWS // max(1, context.shape[0])))


def _join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    points, log_det = zip(*parts, strict=True)
    return torch.cat(points).double(), torch.cat(log_det).double()
