"""Answers for many data sets, gathered into one result with a dimension ``dataset``."""

import math
import warnings

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray

from torch import Tensor

from pymc_amortized.compat import result_of_groups
from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import (
    AccuracyWarning,
    AmortizedError,
    AtypicalDataWarning,
    InvalidArgumentError,
)
from pymc_amortized.inference.amortized import Inference
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.independent_units import IndicatorDraws
from pymc_amortized.inference.indicators.markov_states import draw_indicator
from pymc_amortized.inference.symmetrize import Labels, symmetric
from pymc_amortized.messages import users_level
from pymc_amortized.model.spec import Dims
from pymc_amortized.results.answer_report import answer_facts, is_atypical
from pymc_amortized.results.axes import ModelAxes, dataset_of
from pymc_amortized.results.groups import made_by, probability_tables
from pymc_amortized.training.progress import dataset_progress

if TYPE_CHECKING:
    import pandas

__all__ = ["Gathering", "answers_table"]

DrawMany = Callable[[list[Dataset]], list[Draws | AmortizedError]]
"""Draws parameters for data sets together."""

_DRAWS_AT_ONCE = 64_000
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


class Gathering:
    """Fills one array per variable, data set by data set; what failed stays NaN, or -1.

    Parameters
    ----------
    inference : Inference
        The model.
    datasets : sequence of Dataset or Exception
        B data sets as they were read, or why they could not be.
    num_draws, chains : int
        Draws of each data set, and into how many chains they are divided.
    var_names : sequence of str, optional
        Variables to keep.
    labels : {"canonical", "symmetric"}
        Of exchangeable components.
    """

    def __init__(
        self,
        inference: Inference,
        datasets: Sequence[Dataset | Exception],
        num_draws: int,
        chains: int,
        var_names: Sequence[str] | None,
        labels: Labels = "canonical",
    ) -> None:
        self.inference = inference
        self.labels = labels
        self.simulator = inference.simulator
        self.spec = inference.simulator.spec
        self.datasets = datasets
        self.num_draws, self.chains = num_draws, chains
        self.var_names = None if var_names is None else set(var_names)
        self.sampled: dict[str, np.ndarray] = {}
        self.stats: dict[str, np.ndarray] = {}
        self.probabilities: dict[str, np.ndarray] = {}
        self.indicator_of = {spec.name: spec.name for spec in self.spec.indicators}
        self.rows: list[dict[str, Any]] = [{} for _ in datasets]
        self.left_out: set[str] = set()
        self.first_error: Exception | None = None
        for i, dataset in enumerate(datasets):
            if isinstance(dataset, Exception):
                self.fail(i, dataset)

    def fail(self, i: int, error: Exception) -> None:
        """Note why data set ``i`` has no answer."""
        self.first_error = self.first_error or error
        self.rows[i] = {**_FAILED, "error": " ".join(str(error).split())}

    def fill(self, draw: DrawMany, generator: torch.Generator, *, show: bool) -> None:
        """Answer data sets, as many at a time as memory allows; those of like size together.

        What is done when the user interrupts is kept.

        Raises
        ------
        AmortizedError
            If not one could be answered.
        """
        try:
            self._fill_all(draw, generator, show)
        except KeyboardInterrupt:
            if not self.sampled:
                raise
            for i, row in enumerate(self.rows):
                if not row:
                    self.fail(i, InterruptedError("interrupted before this data set's turn"))
        if self.first_error is not None and all(r["checked"] == "failed" for r in self.rows):
            raise self.first_error

    def _fill_all(self, draw: DrawMany, generator: torch.Generator, show: bool) -> None:
        readable = [i for i, d in enumerate(self.datasets) if isinstance(d, Dataset)]
        readable.sort(key=lambda i: self.datasets[i].frames.num_frames)
        step = max(1, _DRAWS_AT_ONCE // max(self.num_draws, 4_000))
        with dataset_progress(len(readable), show) as advance:
            for start in range(0, len(readable), step):
                some = readable[start : start + step]
                found = _drawn(draw, [self.datasets[i] for i in some])
                for i, draws in zip(some, found, strict=True):
                    if isinstance(draws, Exception):
                        self.fail(i, draws)
                    else:
                        self.put(i, *self._labelled(i, draws, generator))
                advance(len(some))

    def _labelled(
        self, i: int, draws: Draws, generator: torch.Generator
    ) -> tuple[Draws, dict[str, IndicatorDraws]]:
        """Return draws of the parameters and of indicators, with the labels that are asked for."""
        indicators = self._indicators(i, draws, generator)
        if self.labels == "canonical":
            return draws, indicators
        return symmetric(draws, indicators, self.simulator.labelling, self.spec, generator)

    def _indicators(
        self, i: int, draws: Draws, generator: torch.Generator
    ) -> dict[str, IndicatorDraws]:
        of_indicators = [d.name for d in self.spec.deterministics if d.depends_on_indicators]
        for_others = any(self._is_wanted(name) for name in of_indicators)
        return {
            spec.name: draw_indicator(self.inference, spec, self.datasets[i], draws, generator)
            for spec in self.spec.indicators
            if for_others or self._is_wanted(spec.name)
        }

    def warn(self) -> None:
        """Say how many data sets could not be answered, or not checked, or were rejected."""
        stacklevel = users_level()
        checked = [row["checked"] for row in self.rows]
        problems = {
            "failed": "could not be answered",
            "rejected": "were answered, and the answer rejected",
            "no": "could not be checked",
        }
        found = [
            f"{checked.count(key)} of {len(checked):,} data sets {said}"
            for key, said in problems.items()
            if key in checked and not (key == "no" and self.spec.has_density)
        ]
        atypical = sum(is_atypical(row.get("simulation_quantile", 0.0)) for row in self.rows)
        if atypical > _ATYPICAL_BY_CHANCE * len(self.rows) + 1:
            warnings.warn(
                f"{atypical} of {len(self.rows):,} data sets lie farther from those that the "
                "network was trained on than 99 in 100 of these do. Which:\n\n"
                '    pma.answers_table(idata)["simulation_quantile"]',
                AtypicalDataWarning,
                stacklevel=stacklevel,
            )
        if found:
            warnings.warn(
                f"{'; '.join(found)}. Which, and why:\n\n    pma.answers_table(idata)",
                AccuracyWarning,
                stacklevel=stacklevel,
            )
        if self.left_out:
            warnings.warn(
                f"The deterministics {sorted(self.left_out)} depend on data or on indicators, and "
                "are left out.",
                UserWarning,
                stacklevel=stacklevel,
            )

    def put(self, i: int, draws: Draws, indicators: Mapping[str, IndicatorDraws]) -> None:
        """Keep the answer for data set ``i``."""
        self.rows[i] = {**answer_facts(draws), "error": ""}
        for name, values in draws.parameters.items():
            self._store(name, i, values)
        for name, drawn in indicators.items():
            self._store(name, i, drawn.values)
            if self._is_wanted(name):
                spec = next(s for s in self.spec.indicators if s.name == name)
                for called, table in probability_tables(self.spec, spec, drawn).items():
                    self.indicator_of[called] = name
                    self._fill(self.probabilities, called, i, table.cpu().numpy())
        for name, values in self._deterministics(draws, indicators).items():
            self._store(name, i, values)
        stats = {"lp": draws.log_joint, "log_q": draws.log_q, "log_weight": draws.log_weight}
        for name, values in {**stats, "diverging": draws.diverging}.items():
            if values is not None:
                self._fill(self.stats, name, i, values.cpu().numpy())

    def result(self, attrs: Mapping[str, Any]) -> Any:
        """Return InferenceData or a DataTree: posterior (chain, draw, dataset, *dims) and more."""
        axes = self._axes()
        everything = {**made_by(), **attrs}
        groups = {
            "posterior": dataset_of(
                axes.array(name, self._in_chains(x), self._dims(name), ("chain", "draw", "dataset"))
                for name, x in self.sampled.items()
            ).assign_attrs(everything)
        }
        if self.probabilities:
            groups["indicator_probabilities"] = dataset_of(
                axes.probabilities(self.indicator_of[name], x, ("dataset",), name)
                for name, x in self.probabilities.items()
            ).assign_attrs(made_by())
        groups["sample_stats"] = dataset_of(
            axes.array(name, self._in_chains(x), None, ("chain", "draw", "dataset"))
            for name, x in self.stats.items()
        ).assign_attrs(everything)
        groups["answers"] = self.table(axes).assign_attrs(made_by())
        groups["observed_data"] = dataset_of(
            axes.array(o.name, self._observed(o.name), o.dims, ("dataset",))
            for o in self.spec.observations
        ).assign_attrs(made_by())
        return result_of_groups(groups)

    def table(self, axes: ModelAxes) -> xarray.Dataset:
        """Return what is known of each answer, dims (dataset,)."""
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

    def _is_wanted(self, name: str) -> bool:
        return self.var_names is None or name in self.var_names

    def _type_and_filler(self, name: str) -> tuple[np.dtype, int]:
        """Return the smallest type that holds an indicator, and a value below all of its own."""
        support = next(i.support for i in self.spec.indicators if i.name == name)
        filler = min(-1, min(support) - 1)
        return np.result_type(np.min_scalar_type(filler), _signed(max(support))), filler

    def _store(self, name: str, i: int, values: Tensor) -> None:
        if self._is_wanted(name):
            self._fill(self.sampled, name, i, values.cpu().numpy())

    def _fill(self, arrays: dict[str, np.ndarray], name: str, i: int, values: np.ndarray) -> None:
        """Write values of one data set, whose unit axis may be shorter than that of others."""
        if name not in arrays:
            arrays[name] = self._empty(arrays, name, values)
        arrays[name][(i, *(slice(length) for length in values.shape))] = values

    def _empty(self, arrays: dict[str, np.ndarray], name: str, values: np.ndarray) -> np.ndarray:
        """Return room for all data sets: NaN, or a value below all of an indicator's."""
        shape, dtype, filler = list(values.shape), values.dtype, math.nan
        is_table = arrays is self.probabilities
        if arrays is self.stats:
            filler = False if dtype.kind == "b" else math.nan
        elif name in self.indicator_of:
            unit_axis = 0 if is_table else 1
            if len(shape) > unit_axis + is_table:
                most = self._max_rows(self.indicator_of[name])
                shape[unit_axis] = max(shape[unit_axis], most)
            if not is_table:
                dtype, filler = self._type_and_filler(name)
        elif dtype.kind in "biu":
            dtype = np.dtype(float)  # integers and truth values have no NaN
        return np.full((len(self.datasets), *shape), filler, dtype)

    def _max_rows(self, indicator: str) -> int:
        """Return the largest number of units of an indicator in any data set."""
        table = self.inference.layout.table_of(indicator)
        read = [d for d in self.datasets if isinstance(d, Dataset)]
        if table is None:
            return 0
        layout = self.inference.layout.tables[table]
        if layout.grouped or layout.num_sequences > 1:
            return 0
        return max(len(d.positions[table]) for d in read)

    def _deterministics(
        self, draws: Draws, indicators: Mapping[str, IndicatorDraws]
    ) -> dict[str, Tensor]:
        names = [d.name for d in self.spec.deterministics if self._is_wanted(d.name)]
        if not names:
            return {}
        complete = len(indicators) == len(self.spec.indicators)
        complete = complete and all(
            tuple(indicators[i.name].values.shape[1:]) == i.units for i in self.spec.indicators
        )
        found = self.simulator.deterministics(
            draws.parameters,
            {name: z.values for name, z in indicators.items()} if complete else None,
            of_model_data=False,
        )
        self.left_out |= set(names) - set(found)
        return {name: x for name, x in found.items() if name in names}

    def _in_chains(self, values: np.ndarray) -> np.ndarray:
        """Bring (B, S, *shape) to (chain, draw, B, *shape), without a copy."""
        split = values.reshape(len(values), self.chains, -1, *values.shape[2:])
        return np.moveaxis(split, 0, 2)

    def _observed(self, name: str) -> np.ndarray:
        """Return values of all data sets (B, *shape), NaN where they are shorter or missing."""
        values = [d.observations[name] if isinstance(d, Dataset) else None for d in self.datasets]
        known = [v for v in values if v is not None]
        longest = np.max([v.shape for v in known], axis=0) if known[0].ndim else ()
        same = len(known) == len(values) and all(v.shape == tuple(longest) for v in known)
        if same:
            return np.stack(known)
        whole = np.full((len(values), *longest), np.nan)
        for i, value in enumerate(values):
            if value is not None:
                whole[(i, *(slice(length) for length in value.shape))] = value
        return whole

    def _dims(self, name: str) -> Dims:
        specs = {s.name: s for s in (*self.spec.parameters, *self.spec.indicators)}
        if name in specs:
            return specs[name].dims
        return self.simulator.model.named_vars_to_dims.get(name)

    def _axes(self) -> ModelAxes:
        shapes = [(o.dims, self._observed(o.name).shape[1:]) for o in self.spec.observations]
        shapes += [
            (i.dims, self.sampled[i.name].shape[2:])
            for i in self.spec.indicators
            if i.name in self.sampled
        ]
        leading = {
            "chain": self.chains,
            "draw": self.num_draws // self.chains,
            "dataset": len(self.datasets),
        }
        return ModelAxes(self.simulator, shapes, leading)


def _drawn(draw: DrawMany, datasets: list[Dataset]) -> list[Draws | AmortizedError]:
    """Draw for data sets together; one by one where that fails, so that none is lost."""
    try:
        return draw(datasets)
    except AmortizedError as error:
        if len(datasets) == 1:
            return [error]
    return [answer for one in datasets for answer in _drawn(draw, [one])]


def _signed(value: int) -> np.dtype:
    """Return the smallest signed type that holds a value."""
    return np.min_scalar_type(-value - 1) if value >= 0 else np.min_scalar_type(value)
