"""From draws to the groups of an ArviZ result, with the model's dims and coords."""

import warnings

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.compat import result_of_groups
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.inference.answer import Answer
from pymc_amortized.inference.arguments import check_var_names
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.inference.indicators.independent_units import IndicatorDraws
from pymc_amortized.model.spec import Dims, IndicatorSpec, ModelSpec
from pymc_amortized.results.axes import ModelAxes, dataset_of
from pymc_amortized.simulation.simulator import Simulator

__all__ = [
    "added_groups",
    "inference_data",
    "made_by",
    "probabilities_dataset",
    "probability_tables",
    "states_dataset",
]

_LIBRARY = "pymc_amortized"
_SAMPLED = ("chain", "draw")


def inference_data(
    simulator: Simulator,
    answer: Answer,
    *,
    var_names: Sequence[str] | None,
    attrs: Mapping[str, Any],
    exact: ExactModel | None,
    log_likelihood: bool,
    log_prior: bool,
) -> Any:
    """Return InferenceData or a DataTree.

    Parameters
    ----------
    simulator : Simulator
        The model.
    answer : Answer
        What was drawn.
    var_names : sequence of str, optional
        Which variables to keep in the posterior.
    attrs : mapping
        Of the posterior group, and of the sample statistics.
    exact : ExactModel or None
        The density, for the log likelihood.
    log_likelihood, log_prior : bool
        Whether to add them.

    Raises
    ------
    InvalidArgumentError
        If ``var_names`` holds unknown names.
    """
    builder = _Builder(simulator, answer)
    attrs = {**made_by(), **attrs}
    groups = {"posterior": builder.posterior(var_names).assign_attrs(attrs)}
    if answer.indicators:
        groups["indicator_probabilities"] = builder.probabilities().assign_attrs(made_by())
    groups["sample_stats"] = builder.sample_stats().assign_attrs(attrs)
    if log_likelihood:
        groups["log_likelihood"] = builder.log_likelihood(exact).assign_attrs(made_by())
    if log_prior:
        groups["log_prior"] = builder.log_prior(exact).assign_attrs(made_by())
    groups["observed_data"] = builder.observed_data().assign_attrs(made_by())
    constant = builder.constant_data()
    if constant.data_vars:
        groups["constant_data"] = constant.assign_attrs(made_by())
    return result_of_groups(groups)


def probability_tables(
    spec: ModelSpec, indicator: IndicatorSpec, drawn: IndicatorDraws
) -> dict[str, Tensor]:
    """Return the tables of probabilities (*units, K) of an indicator, by their names in a result.

    Of independent indicators there is one, under their own name; of a chain, ``smoothing`` and
    ``filtering``, after its own name where the model has other indicators.
    """
    if drawn.filtering is None:
        return {indicator.name: drawn.probabilities}
    return {
        _called(spec, indicator, "smoothing"): drawn.probabilities,
        _called(spec, indicator, "filtering"): drawn.filtering,
    }


def _called(spec: ModelSpec, indicator: IndicatorSpec, kind: str) -> str:
    return kind if len(spec.indicators) == 1 else f"{indicator.name}_{kind}"


def probabilities_dataset(simulator: Simulator, answer: Answer) -> xarray.Dataset:
    """Return p(z_i = k given y) of every indicator, dims (*units, component)."""
    return _Builder(simulator, answer).probabilities()


def added_groups(simulator: Simulator, answer: Answer) -> tuple[xarray.Dataset, xarray.Dataset]:
    """Return indicators with the deterministics that need them, and probabilities of indicators."""
    builder = _Builder(simulator, answer)
    probabilities = builder.probabilities().assign_attrs(made_by())
    return builder.of_indicators(), probabilities


def states_dataset(
    simulator: Simulator, answer: Answer, kind: str, names: Sequence[str]
) -> xarray.Dataset:
    """Return what is known of the states of chains: see :meth:`AmortizedPosterior.indicators`."""
    builder = _Builder(simulator, answer)
    return dataset_of(builder.states(name, kind) for name in names)


def made_by() -> dict[str, str]:
    """Return the attributes that every group has."""
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "creation_library": _LIBRARY,
        "inference_library": _LIBRARY,
    }


class _Builder:
    """Builds groups one by one: names of axes and their coordinates come from the model."""

    def __init__(self, simulator: Simulator, answer: Answer) -> None:
        self.simulator = simulator
        self.spec = simulator.spec
        self.answer = answer
        shapes = [
            (o.dims, answer.dataset.observations[o.name].shape) for o in self.spec.observations
        ]
        shapes += [
            (i.dims, answer.indicators[i.name].values.shape[1:]) for i in self.spec.indicators
        ]
        draws = answer.draws.log_q.shape[0] // answer.chains
        self.axes = ModelAxes(simulator, shapes, {"chain": answer.chains, "draw": draws})

    def posterior(self, var_names: Sequence[str] | None) -> xarray.Dataset:
        variables = {
            p.name: (self.answer.draws.parameters[p.name], p.dims) for p in self.spec.parameters
        }
        for spec in self.spec.indicators:
            variables[spec.name] = (self.answer.indicators[spec.name].values, spec.dims)
        variables |= self._deterministics()
        if var_names is not None:
            check_var_names(self.spec, var_names)
            variables = {name: variables[name] for name in variables if name in set(var_names)}
        return dataset_of(
            self._sampled(name, tensor, dims) for name, (tensor, dims) in variables.items()
        )

    def of_indicators(self) -> xarray.Dataset:
        """Return draws of indicators, and of the deterministics that need them."""
        drawn = [
            self._sampled(spec.name, self.answer.indicators[spec.name].values, spec.dims)
            for spec in self.spec.indicators
        ]
        names = {d.name for d in self.spec.deterministics if d.depends_on_indicators}
        if names:
            found = self._deterministics().items()
            drawn += [self._sampled(name, *rest) for name, rest in found if name in names]
        return dataset_of(drawn)

    def _deterministics(self) -> dict[str, tuple[Tensor, Dims]]:
        answer = self.answer
        same_size = all(
            tuple(answer.indicators[i.name].values.shape[1:]) == i.units
            for i in self.spec.indicators
        )
        indicators = {name: z.values for name, z in answer.indicators.items()}
        found = self.simulator.deterministics(
            answer.draws.parameters,
            indicators if same_size else None,
            of_model_data=answer.own_data,
        )
        left_out = [d.name for d in self.spec.deterministics if d.name not in found]
        if left_out:
            warnings.warn(
                f"The deterministics {left_out} depend on data or on indicators, and are left out: "
                "these are not the data that the model was built with. Build it with these data "
                "to have them.",
                UserWarning,
                stacklevel=2,
            )
        dims = self.simulator.model.named_vars_to_dims
        return {name: (value, dims.get(name)) for name, value in found.items()}

    def probabilities(self) -> xarray.Dataset:
        arrays = []
        for spec in self.spec.indicators:
            drawn = self.answer.indicators[spec.name]
            arrays += [
                self.axes.probabilities(spec.name, table.cpu().numpy(), called=name)
                for name, table in probability_tables(self.spec, spec, drawn).items()
            ]
            if drawn.viterbi is not None:
                path = self.axes.array(spec.name, drawn.viterbi.cpu().numpy(), spec.dims)
                arrays.append(path.rename(_called(self.spec, spec, "viterbi")))
        return dataset_of(arrays)

    def states(self, name: str, kind: str) -> xarray.DataArray:
        drawn = self.answer.indicators[name]
        dims = next(i.dims for i in self.spec.indicators if i.name == name)
        if kind == "paths":
            return self._sampled(name, drawn.values, dims)
        if kind == "viterbi":
            return self.axes.array(name, drawn.viterbi.cpu().numpy(), dims)
        table = drawn.probabilities if kind == "smoothing" else drawn.filtering
        return self.axes.probabilities(name, table.cpu().numpy())

    def sample_stats(self) -> xarray.Dataset:
        draws = self.answer.draws
        stats = {"lp": draws.log_joint, "log_q": draws.log_q, "log_weight": draws.log_weight}
        arrays = [
            self._sampled(name, tensor, None)
            for name, tensor in stats.items()
            if tensor is not None
        ]
        arrays.append(self._sampled("diverging", draws.diverging, None))
        return dataset_of(arrays)

    def log_likelihood(self, exact: ExactModel) -> xarray.Dataset:
        arrays = []
        frames = self.answer.dataset.frames
        parameters = {name: x.unsqueeze(1) for name, x in self.answer.draws.parameters.items()}
        for index, table in enumerate(exact.layout.tables):
            if table.is_sequence:
                arrays += self._log_likelihood_of_sequences(exact, parameters, table)
                continue
            where = self.answer.dataset.positions[index]
            selected = frames.selected[index].flatten(1)[0].cpu().numpy()
            for name, values in exact.by_unit(parameters, frames, table):
                every = values.expand(self.answer.draws.log_q.shape[0], *values.shape[1:])
                rows = self._in_chains(_user_rows(table, every, where))
                dims = None if table.observations[0].dims is None else table.observations[0].dims
                if not table.grouped and not selected[where].all():
                    rows = rows[:, :, selected[where]]
                    dims = (f"{name}_observed_dim_0", *(dims or ())[1:]) if dims else None
                short = None if dims is None else dims[: rows.ndim - 2]
                arrays.append(self.axes.array(name, rows, short, _SAMPLED))
        return dataset_of(arrays)

    def _log_likelihood_of_sequences(
        self, exact: ExactModel, parameters: Mapping[str, Tensor], table: UnitTable
    ) -> list[xarray.DataArray]:
        """Return the log likelihood of each sequence as a whole: its points are not independent."""
        dims = table.observations[0].dims
        dims = None if dims is None else dims[: len(table.indicator.units) - 1]
        num_draws = self.answer.draws.log_q.shape[0]
        return [
            self._sampled(name, values.expand(num_draws, *values.shape[1:])[:, 0], dims)
            for name, values in exact.by_unit(parameters, self.answer.dataset.frames, table)
        ]

    def log_prior(self, exact: ExactModel) -> xarray.Dataset:
        arrays = []
        terms = exact.density.log_prior_terms(self.answer.draws.parameters)
        for spec in self.spec.parameters:
            term = terms[spec.name]
            dims = None if spec.dims is None else spec.dims[: term.ndim - 1]
            arrays.append(self._sampled(spec.name, term, dims))
        return dataset_of(arrays)

    def observed_data(self) -> xarray.Dataset:
        return dataset_of(
            self.axes.array(o.name, self.answer.dataset.observations[o.name], o.dims)
            for o in self.spec.observations
        )

    def constant_data(self) -> xarray.Dataset:
        dims = self.simulator.model.named_vars_to_dims
        return dataset_of(
            self.axes.array(c.name, self.answer.dataset.covariates[c.name], dims.get(c.name))
            for c in self.spec.covariates
            if c.origin == "data"
        )

    def _in_chains(self, tensor: Tensor) -> np.ndarray:
        values = tensor.detach().cpu().numpy()
        return values.reshape(self.answer.chains, -1, *values.shape[1:])

    def _sampled(self, name: str, tensor: Tensor, dims: Dims) -> xarray.DataArray:
        """Return draws (S, *shape) in chains."""
        return self.axes.array(name, self._in_chains(tensor), dims, _SAMPLED)


def _user_rows(table: UnitTable, values: Tensor, where: np.ndarray) -> Tensor:
    """Bring units in frames (S, 1, m, *units) into the order of the user's rows (S, *units)."""
    if not table.observations[0].shape:
        return values.flatten(1)[:, 0]
    if table.grouped:
        return values[:, 0, 0]
    return values[:, 0].flatten(1, 2)[:, where]
