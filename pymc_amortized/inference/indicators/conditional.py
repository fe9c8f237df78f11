"""An indicator given data: what each kind of indicator answers for itself."""

import functools

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.problem import Problem
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.networks.units import Units

__all__ = ["AbstractConditional", "IndicatorDraws", "mean_divergence", "smallest_type"]

_DRAWS_FOR_GAP = 32
_NUMBERS_PER_ROW = 32  # that a classification network makes of a unit


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorDraws:
    """Indicators of one data set.

    Attributes
    ----------
    values : Tensor of int, shape (S, *units)
        A draw for each draw of the parameters, of the smallest type that holds its values.
    probabilities : Tensor, shape (*units, K)
        p(z_i = k given y), averaged over draws: of a chain, its smoothing distribution.
    gap : float
        Mean over units of the divergence of the network's probabilities from the exact ones, in
        nats; NaN unless both exist.
    filtering : Tensor, shape (*units, K), or None
        Of a chain, p(z_t = k given y up to t), averaged over draws.
    viterbi : Tensor of int, shape (*units,), or None
        Of a chain, the most probable path under the most probable draw.
    """

    values: Tensor
    probabilities: Tensor
    gap: float
    filtering: Tensor | None = None
    viterbi: Tensor | None = None


class AbstractConditional(ABC):
    """p(z given y, θ) of one indicator and one data set.

    Exact where the model has a density, and otherwise as the networks have learned it.

    Parameters
    ----------
    problem : Problem
        The model.
    estimator : Estimator or None
        Networks; None where there is a density alone.
    indicator : IndicatorSpec
        Which indicator.
    dataset : Dataset
        The data.
    """

    def __init__(
        self,
        problem: Problem,
        estimator: Estimator | None,
        indicator: IndicatorSpec,
        dataset: Dataset,
    ) -> None:
        self.problem, self.estimator, self.indicator = problem, estimator, indicator
        self.dataset = dataset
        self.frames = dataset.frames.to(problem.device)
        self.table = problem.layout.table_of(indicator.name)

    @abstractmethod
    def draw(self, draws: Draws, generator: torch.Generator) -> IndicatorDraws:
        """Draw the indicator for each draw of the parameters, and average its probabilities."""

    @abstractmethod
    def memberships(self, draws: Draws) -> Iterator[Tensor]:
        """Yield exact p(z_i = k given y, θ) (s, *units, K) for pieces of the draws, in order."""

    @functools.cached_property
    def units(self) -> Units:
        """The scaled units of the indicator's table, as the classification network sees them."""
        tables = self.problem.layout.units(self.frames)
        return self.estimator.scaled(tables)[self.table]

    @property
    def draws_at_once(self) -> int:
        """For how many draws all units are classified together."""
        return self.problem.memory.at_once(_NUMBERS_PER_ROW * self.units.mask.shape[1])

    def features(self, draws: Draws) -> Tensor:
        """Return what the classification network is given of each draw, (S, P)."""
        return self.problem.space.features(draws.vector, draws.parameters)

    def draws_for_gap(self, draws: Draws) -> Draws | None:
        """Return draws under which exact and learned probabilities are compared.

        None unless both exist; and without parameters, of which exact tables have no axis.
        """
        learned = self.estimator is not None and self.table in self.estimator.classified
        if not learned or self.problem.exact is None or not self.problem.space.size:
            return None
        return draws.select(slice(_DRAWS_FOR_GAP))


def mean_divergence(exact: Tensor, network: Tensor) -> float:
    """Return the mean divergence, in nats per unit, of log probabilities (s, *units, K)."""
    terms = exact.exp() * (exact - network)
    return float(torch.where(exact.exp() > 0, terms, 0.0).sum(-1).mean())


def smallest_type(support: tuple[int, ...]) -> torch.dtype:
    """Return the smallest signed type that holds the values of an indicator, and a filler below."""
    least, most = min(-1, *support) - 1, max(support)
    types = (torch.int8, torch.int16, torch.int32)
    fits = (t for t in types if torch.iinfo(t).min <= least and most <= torch.iinfo(t).max)
    return next(fits, torch.int64)
