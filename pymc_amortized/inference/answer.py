"""All that is known of a data set: draws of parameters and indicators, in some labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import AmortizedError
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.correction.ladder import Corrector
from pymc_amortized.inference.draws import Correction, Draws
from pymc_amortized.inference.indicators.conditional import IndicatorDraws
from pymc_amortized.inference.indicators.kinds import condition_on_data
from pymc_amortized.inference.indicators.members import read_members
from pymc_amortized.inference.problem import Problem
from pymc_amortized.inference.watch import Watch
from pymc_amortized.symmetry.answer_labels import AnswerLabels

__all__ = ["Answer", "Answering", "Wanted", "datasets_at_once"]

_NUMBERS_PER_DRAW = 128  # that proposals and their weights are made of
_FEWEST_DRAWS = 4_000


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """All that is known of one data set.

    Attributes
    ----------
    dataset : Dataset
        The data.
    draws : Draws
        Of the parameters.
    indicators : dict of str to IndicatorDraws
        By name; those that were asked for.
    own_data : bool
        Whether the data are those of the model.
    """

    dataset: Dataset
    draws: Draws
    indicators: dict[str, IndicatorDraws]
    own_data: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of each data set.

    Attributes
    ----------
    num_draws, chains : int
        S draws, and into how many chains they are divided.
    correction : {"auto", "none", "importance", "adaptive", "smc", "mcmc"}
        How far to correct them.
    rule : AcceptanceRule
        When they are accepted.
    labels : AnswerLabels
        Of exchangeable components.
    indicators : frozenset of str
        Names of the indicators to draw.
    max_time : float or None
        Seconds after which answers are the best so far.
    """

    num_draws: int
    chains: int
    correction: Correction
    rule: AcceptanceRule
    labels: AnswerLabels
    indicators: frozenset[str]
    max_time: float | None = None


def datasets_at_once(problem: Problem, num_draws: int) -> int:
    """Return for how many data sets so many draws are corrected together."""
    return problem.memory.at_once(_NUMBERS_PER_DRAW * max(num_draws, _FEWEST_DRAWS))


class Answering:
    """Answers data sets.

    Parameters
    ----------
    inference : Amortized
        The networks and the model.

    Attributes
    ----------
    corrector : Corrector
        What draws parameters.
    """

    def __init__(self, inference: Amortized) -> None:
        self.inference = inference
        self.corrector = Corrector(inference)

    def answer(
        self,
        dataset: Dataset,
        wanted: Wanted,
        generator: torch.Generator,
        watch: Watch | None = None,
        *,
        own_data: bool,
    ) -> Answer:
        """Draw parameters and indicators for one data set.

        Raises
        ------
        InvalidDataError
            If the model cannot produce the data.
        """
        [draws] = self._draw([dataset], wanted, generator, watch or Watch(wanted.max_time))
        if isinstance(draws, AmortizedError):
            raise draws
        return self._complete(dataset, draws, wanted, generator, own_data=own_data)

    def answer_many(
        self,
        datasets: Sequence[Dataset | Exception],
        wanted: Wanted,
        generator: torch.Generator,
        watch: Watch | None = None,
    ) -> Iterator[list[tuple[int, Answer | Exception]]]:
        """Yield answers with their places, as many at a time as memory allows.

        Those of like size are worked on together. What could not be read, or is impossible, has its
        error in place of an answer.
        """
        watch = watch or Watch(wanted.max_time)
        yield [(i, d) for i, d in enumerate(datasets) if isinstance(d, Exception)]
        readable = [i for i, d in enumerate(datasets) if isinstance(d, Dataset)]
        readable.sort(key=lambda i: datasets[i].frames.num_frames)
        step = datasets_at_once(self.inference.problem, wanted.num_draws)
        for start in range(0, len(readable), step):
            some = readable[start : start + step]
            found = self._draw_each([datasets[i] for i in some], wanted, generator, watch)
            yield [
                (
                    i,
                    draws
                    if isinstance(draws, Exception)
                    else self._complete(datasets[i], draws, wanted, generator, own_data=False),
                )
                for i, draws in zip(some, found, strict=True)
            ]

    def _draw(
        self,
        datasets: Sequence[Dataset],
        wanted: Wanted,
        generator: torch.Generator,
        watch: Watch,
    ) -> list[Draws | AmortizedError]:
        counts = wanted.num_draws, wanted.chains
        return self.corrector.draw(
            datasets, *counts, wanted.correction, generator, wanted.rule, watch
        )

    def _draw_each(
        self,
        datasets: Sequence[Dataset],
        wanted: Wanted,
        generator: torch.Generator,
        watch: Watch,
    ) -> list[Draws | AmortizedError]:
        """Draw for data sets together; one by one where that fails, so that none is lost."""
        try:
            return self._draw(datasets, wanted, generator, watch)
        except AmortizedError as error:
            if len(datasets) == 1:
                return [error]
        rest = wanted, generator, watch
        return [found for one in datasets for found in self._draw_each([one], *rest)]

    def _complete(
        self,
        dataset: Dataset,
        draws: Draws,
        wanted: Wanted,
        generator: torch.Generator,
        *,
        own_data: bool,
    ) -> Answer:
        """Draw indicators to go with draws of the parameters, and put both into their labels."""
        problem, estimator = self.inference.problem, self.inference.estimator
        indicators = {}
        for spec in problem.spec.indicators:
            if spec.name in wanted.indicators:
                given = condition_on_data(problem, estimator, spec, dataset)
                indicators |= read_members(spec, given.draw(draws, generator))
        draws, indicators = wanted.labels.symmetrize(draws, indicators, generator)
        return Answer(dataset, draws, indicators, own_data)
