"""What is said of answers for many data sets: their table, and warnings."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import AccuracyWarning, AtypicalDataWarning, InvalidArgumentError
from pymc_amortized.inference.answer import Answer
from pymc_amortized.messages import warn
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.results.answer_report import answer_facts, is_atypical
from pymc_amortized.results.axes import ModelAxes, dataset_of
from pymc_amortized.results.builder import ResultBuilder

if TYPE_CHECKING:
    import pandas

__all__ = ["AnswersTable", "answers_table", "fill"]

_ATYPICAL_BY_CHANCE = 0.03
_FAILED = {"rung": "none", "checked": "failed"}


def answers_table(idata: Any) -> "pandas.DataFrame":
    """Return the table of answers of :meth:`AmortizedPosterior.sample_many`, a row per data set.

    Parameters
    ----------
    idata : InferenceData or DataTree
        What it returned, or what was read back from a file.

    Raises
    ------
    InvalidArgumentError
        If the result is of something else.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    >>> config = pma.TrainingConfig(steps=200)
    >>> posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    >>> idata = posterior.sample_many([{"y": [0.5, 1.5]}] * 2, random_seed=1, progressbar=False)
    >>> pma.answers_table(idata)["checked"].tolist()
    ['accepted', 'accepted']
    """
    try:
        group = idata["answers"]
    except (KeyError, TypeError) as error:
        raise InvalidArgumentError(
            "Expected a result of many data sets, which has a group 'answers'; got one without. "
            "Get one by:\n\n    posterior.sample_many(datasets)"
        ) from error
    dataset = group if isinstance(group, xarray.Dataset) else group.to_dataset()
    return dataset.to_dataframe()


class AnswersTable:
    """What is known of each of B answers, and why some data sets have none.

    Parameters
    ----------
    datasets : sequence of Dataset or Exception
        As they were read.
    """

    def __init__(self, datasets: Sequence[Dataset | Exception]) -> None:
        self.rows: list[dict[str, Any]] = [{} for _ in datasets]
        self.first_error: Exception | None = None

    def note(self, i: int, found: Answer | Exception) -> None:
        """Keep what is known of an answer, or why there is none."""
        if isinstance(found, Exception):
            self.first_error = self.first_error or found
            self.rows[i] = {**_FAILED, "error": " ".join(str(found).split())}
        else:
            self.rows[i] = {**answer_facts(found.draws), "error": ""}

    def note_interruption(self) -> None:
        """Say of those without an answer that their turn has not come."""
        for i, row in enumerate(self.rows):
            if not row:
                self.note(i, InterruptedError("interrupted before this data set's turn"))

    @property
    def all_failed(self) -> bool:
        """Whether not one data set has an answer."""
        return all(row["checked"] == "failed" for row in self.rows)

    def to_dataset(self, axes: ModelAxes) -> xarray.Dataset:
        """Return the group ``answers``, dims (dataset,)."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        columns = {}
        for name in names:
            values = [row.get(name) for row in self.rows]
            texts = any(isinstance(value, str) for value in values)
            empty: Any = "" if texts else np.nan
            columns[name] = np.array([empty if value is None else value for value in values])
        return dataset_of(
            axes.array(name, column, (), ("dataset",)) for name, column in columns.items()
        )

    def warn(self, spec: ModelSpec, left_out: Iterable[str]) -> None:
        """Say how many data sets could not be answered, or not checked, or were rejected."""
        for text, category in self._warnings(spec, sorted(left_out)):
            warn(text, category)

    def _warnings(
        self, spec: ModelSpec, left_out: Sequence[str]
    ) -> Iterator[tuple[str, type[Warning]]]:
        atypical = sum(is_atypical(row.get("simulation_quantile", 0.0)) for row in self.rows)
        if atypical > _ATYPICAL_BY_CHANCE * len(self.rows) + 1:
            yield (
                f"{atypical} of {len(self.rows):,} data sets lie farther from those that the "
                "network was trained on than 99 in 100 of these do. Which:\n\n"
                '    pma.answers_table(idata)["simulation_quantile"]',
                AtypicalDataWarning,
            )
        problems = list(self._problems(spec))
        if problems:
            text = f"{'; '.join(problems)}. Which, and why:\n\n    pma.answers_table(idata)"
            yield text, AccuracyWarning
        if left_out:
            yield (
                f"The deterministics {left_out} depend on data or on indicators, and are left out.",
                UserWarning,
            )

    def _problems(self, spec: ModelSpec) -> Iterator[str]:
        checked = [row["checked"] for row in self.rows]
        words = {
            "failed": "could not be answered",
            "rejected": "were answered, and the answer rejected",
        }
        if not spec.has_density:
            words["no"] = "could not be checked"
        for key, said in words.items():
            if key in checked:
                yield f"{checked.count(key)} of {len(checked):,} data sets {said}"


def fill(
    builder: ResultBuilder,
    table: AnswersTable,
    answers: Iterable[Sequence[tuple[int, Answer | Exception]]],
    advance: Callable[[int], None],
) -> None:
    """Keep answers as they come; what is done when the user interrupts is kept.

    Parameters
    ----------
    builder : ResultBuilder
        Which they are kept in.
    table : AnswersTable
        In which is noted what is known of them.
    answers : iterable of sequence of (int, Answer or Exception)
        With their places.
    advance : callable
        Told how many more are done.

    Raises
    ------
    AmortizedError
        If not one could be answered.
    """
    num_answers = 0
    try:
        for found in answers:
            for i, answer in found:
                table.note(i, answer)
                if isinstance(answer, Answer):
                    builder.put(i, answer)
                    num_answers += 1
            advance(len(found))
    except KeyboardInterrupt:
        if not num_answers:
            raise
        table.note_interruption()
    if table.first_error is not None and table.all_failed:
        raise table.first_error
