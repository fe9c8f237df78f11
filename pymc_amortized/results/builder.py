"""From answers for B data sets to the groups of an ArviZ result, with the model's dims and coords.

One data set is a result of B = 1, without a dimension ``dataset``.
"""

import math

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.compat import result_of_groups
from pymc_amortized.data.dataset import Dataset
from pymc_amortized.inference.answer import Answer
from pymc_amortized.inference.problem import Problem
from pymc_amortized.model.spec import Dims, IndicatorSpec
from pymc_amortized.results.axes import ModelAxes, dataset_of, probability_tables, viterbi_name
from pymc_amortized.results.reading import INDICATORS
from pymc_amortized.results.sink import AbstractSink, MemorySink, Room

__all__ = ["ResultBuilder", "made_by"]

_LIBRARY = "pymc_amortized"
_POSTERIOR, _STATS = "posterior", "sample_stats"
_PROBABILITIES, _PATHS = "indicator_probabilities", "viterbi"


def made_by() -> dict[str, str]:
    """Return the attributes that every group has."""
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "creation_library": _LIBRARY,
        "inference_library": _LIBRARY,
    }


class ResultBuilder:
    """Writes answers into a sink, and builds groups of what is there.

    Parameters
    ----------
    problem : Problem
        The model.
    datasets : sequence of Dataset or Exception
        B data sets as they were read, or why they could not be.
    num_draws, chains : int
        S draws of each data set, and into how many chains they are divided.
    var_names : collection of str, optional
        Variables to keep. Default: all.
    single : bool
        Whether this is the result of one data set, without a dimension ``dataset``.
    sink : AbstractSink, optional
        Where values are written. Default: memory.

    Attributes
    ----------
    left_out : set of str
        Deterministics that could not be computed.
    """

    def __init__(
        self,
        problem: Problem,
        datasets: Sequence[Dataset | Exception],
        num_draws: int,
        chains: int,
        var_names: Collection[str] | None = None,
        *,
        single: bool = False,
        sink: AbstractSink | None = None,
    ) -> None:
        self.problem, self.spec, self.datasets = problem, problem.spec, datasets
        self.num_draws, self.chains, self.single = num_draws, chains, single
        self.var_names = None if var_names is None else set(var_names)
        self.sink = MemorySink(len(datasets)) if sink is None else sink
        self.left_out: set[str] = set()
        self._indicator_of = {spec.name: spec for spec in self.spec.named_indicators}

    @property
    def leading(self) -> tuple[str, ...]:
        """Names of the axes before those of the model, of what was sampled."""
        return ("chain", "draw") if self.single else ("chain", "draw", "dataset")

    def put(self, i: int, answer: Answer) -> None:
        """Keep the answer for data set i."""
        for name, values in answer.draws.parameters.items():
            self._keep(name, i, values)
        for name, drawn in answer.indicators.items():
            group = INDICATORS if self._indicator_of[name].units else _POSTERIOR
            self._keep(name, i, drawn.values, group)
            if self._is_wanted(name):
                self._put_probabilities(i, self._indicator_of[name], answer)
        for name, values in self._deterministics(answer).items():
            self._keep(name, i, values)
        draws = answer.draws
        stats = {"lp": draws.log_joint, "log_q": draws.log_q, "log_weight": draws.log_weight}
        for name, values in {**stats, "diverging": draws.diverging}.items():
            if values is not None:
                self._write(_STATS, name, i, values)

    def result(
        self, attrs: Mapping[str, Any], more: Mapping[str, xarray.Dataset] | None = None
    ) -> Any:
        """Return InferenceData or a DataTree.

        Parameters
        ----------
        attrs : mapping
            Of the posterior group, and of the sample statistics.
        more : mapping of str to xarray.Dataset, optional
            Other groups, to be put after these.
        """
        everything = {**made_by(), **attrs}
        groups = {"posterior": self.posterior().assign_attrs(everything)}
        if self.sink.arrays(INDICATORS):
            groups[INDICATORS] = self.indicators().assign_attrs(made_by())
        if self.sink.arrays(_PROBABILITIES):
            groups["indicator_probabilities"] = self.probabilities().assign_attrs(made_by())
        groups["sample_stats"] = self._build_group(_STATS).assign_attrs(everything)
        for name, group in (more or {}).items():
            groups[name] = group.assign_attrs(made_by())
        groups["observed_data"] = self._observed_data().assign_attrs(made_by())
        constant = self._constant_data()
        if constant.data_vars:
            groups["constant_data"] = constant.assign_attrs(made_by())
        return result_of_groups(groups)

    def posterior(self) -> xarray.Dataset:
        """Return parameters, deterministics, and indicators without an axis of units.

        Dims are (chain, draw, [dataset,] *dims).
        """
        return self._build_group(_POSTERIOR).assign_coords(self.axes.leading)

    def indicators(self) -> xarray.Dataset:
        """Return indicators of units or time points, dims (chain, draw, [dataset,] *units)."""
        return self._build_group(INDICATORS)

    def probabilities(self) -> xarray.Dataset:
        """Return p(z_i = k given y), dims ([dataset,] *units, component), and Viterbi paths."""
        axes, leading = self.axes, self._dataset_dims
        tables = [
            axes.probabilities(
                self._indicator_of[name].name, self._drop_dataset_axis(x), leading, name
            )
            for name, x in self.sink.arrays(_PROBABILITIES).items()
        ]
        for name, x in self.sink.arrays(_PATHS).items():
            spec = self._indicator_of[name]
            tables.append(
                axes.array(spec.name, self._drop_dataset_axis(x), spec.dims, leading).rename(name)
            )
        return dataset_of(tables)

    @property
    def axes(self) -> ModelAxes:
        """Names and coordinates of axes."""
        observed = {o.name: self._observed(o.name) for o in self.spec.observations}
        skip = 0 if self.single else 1
        shapes = [(o.dims, observed[o.name].shape[skip:]) for o in self.spec.observations]
        sampled = self.sink.arrays(INDICATORS)
        indicators = [i for i in self.spec.named_indicators if i.name in sampled]
        shapes += [(i.dims, sampled[i.name].shape[2:]) for i in indicators]
        leading = {"chain": self.chains, "draw": self.num_draws // self.chains}
        if not self.single:
            leading["dataset"] = len(self.datasets)
        return ModelAxes(self.problem.simulator, shapes, leading)

    def in_chains(self, values: Tensor | np.ndarray) -> np.ndarray:
        """Bring draws (S, *shape) of one data set into chains (chain, draw, *shape)."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        return array.reshape(self.chains, -1, *array.shape[1:])

    @property
    def _dataset_dims(self) -> tuple[str, ...]:
        return () if self.single else ("dataset",)

    def _drop_dataset_axis(self, values: np.ndarray) -> np.ndarray:
        """Take the axis of data sets away where there is one data set only."""
        return values[0] if self.single else values

    def _build_group(self, group: str) -> xarray.Dataset:
        axes = self.axes
        return dataset_of(
            axes.array(name, self._split(x), self._dims(name, group), self.leading)
            for name, x in self.sink.arrays(group).items()
        )

    def _split(self, values: np.ndarray) -> np.ndarray:
        """Bring (B, S, *shape) to (chain, draw, [B,] *shape), without a copy."""
        split = values.reshape(len(values), self.chains, -1, *values.shape[2:])
        return split[0] if self.single else np.moveaxis(split, 0, 2)

    def _dims(self, name: str, group: str) -> Dims:
        if group == _STATS:
            return None
        specs = {s.name: s for s in (*self.spec.parameters, *self.spec.named_indicators)}
        if name in specs:
            return specs[name].dims
        return self.problem.simulator.model.named_vars_to_dims.get(name)

    def _is_wanted(self, name: str) -> bool:
        return self.var_names is None or name in self.var_names

    def _put_probabilities(self, i: int, spec: IndicatorSpec, answer: Answer) -> None:
        drawn = answer.indicators[spec.name]
        for name, table in probability_tables(self.spec, spec, drawn).items():
            self._indicator_of[name] = spec
            self._write(_PROBABILITIES, name, i, table)
        if drawn.viterbi is not None:
            name = viterbi_name(self.spec, spec)
            self._indicator_of[name] = spec
            self._write(_PATHS, name, i, drawn.viterbi)

    def _deterministics(self, answer: Answer) -> dict[str, Tensor]:
        names = [d.name for d in self.spec.deterministics if self._is_wanted(d.name)]
        if not names:
            return {}
        indicators = answer.indicators
        complete = len(indicators) == len(self.spec.named_indicators) and all(
            tuple(indicators[i.name].values.shape[1:]) == i.units
            for i in self.spec.named_indicators
        )
        found = self.problem.simulator.deterministics(
            answer.draws.parameters,
            {name: z.values.long() for name, z in indicators.items()} if complete else None,
            of_model_data=answer.own_data,
        )
        self.left_out |= set(names) - set(found)
        return {name: x for name, x in found.items() if name in names}

    def _keep(self, name: str, i: int, values: Tensor, group: str = _POSTERIOR) -> None:
        if self._is_wanted(name):
            self._write(group, name, i, values)

    def _write(self, group: str, name: str, i: int, values: Tensor) -> None:
        array = values.detach().cpu().numpy()
        if not self.sink.holds(group, name):
            self.sink.make_room(group, name, self._room(group, name, array))
        self.sink.write(group, name, i, array)

    def _room(self, group: str, name: str, values: np.ndarray) -> Room:
        """Return what all data sets need: NaN, or a value below all of an indicator's, is nothing.

        Integers and truth values have no NaN: where some data sets may be without, they are floats.
        """
        shape, dtype, filler = list(values.shape), values.dtype, math.nan
        if name in self._indicator_of and group != _STATS:
            spec = self._indicator_of[name]
            unit_axis = 0 if group in (_PROBABILITIES, _PATHS) else 1
            if spec.units:
                shape[unit_axis] = max(shape[unit_axis], self._max_rows(spec))
            if group != _PROBABILITIES:
                filler = min(-1, min(spec.support) - 1)
        elif dtype.kind == "b" and (group == _STATS or self.single):
            filler = False
        elif dtype.kind in "biu":
            dtype, filler = (dtype, 0) if self.single else (np.dtype(float), math.nan)
        return Room(tuple(shape), dtype, filler)

    def _max_rows(self, indicator: IndicatorSpec) -> int:
        """Return the largest number of units of an indicator in any data set."""
        layout = self.problem.layout
        index = layout.table_of(self.spec.whole_of(indicator).name)
        if index is None or layout.tables[index].grouped or layout.tables[index].num_sequences > 1:
            return 0
        read = [d for d in self.datasets if isinstance(d, Dataset)]
        return max(len(d.positions[index]) for d in read)

    def _observed_data(self) -> xarray.Dataset:
        axes = self.axes
        return dataset_of(
            axes.array(o.name, self._observed(o.name), o.dims, self._dataset_dims)
            for o in self.spec.observations
        )

    def _constant_data(self) -> xarray.Dataset:
        """Return the ``pm.Data`` of one data set."""
        dims = self.problem.simulator.model.named_vars_to_dims
        covariates = self.datasets[0].covariates if self.single else {}
        return dataset_of(
            self.axes.array(c.name, covariates[c.name], dims.get(c.name))
            for c in self.spec.covariates
            if c.origin == "data" and c.name in covariates
        )

    def _observed(self, name: str) -> np.ndarray:
        """Return values of all data sets ([B,] *shape), NaN where they are shorter or missing."""
        values = [d.observations[name] if isinstance(d, Dataset) else None for d in self.datasets]
        if self.single:
            return values[0]
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
