"""From draws to the groups of an ArviZ result, with the model's dims and coords."""

import warnings

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.compile.compat import result_of_groups
from pymc_amortized.compile.spec import Dims, ModelSpec
from pymc_amortized.datasets import Dataset
from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.exact import ExactModel
from pymc_amortized.indicators import IndicatorDraws
from pymc_amortized.correction import Draws
from pymc_amortized.layout import UnitTable
from pymc_amortized.simulator import Simulator

__all__ = ["Answer", "check_var_names", "inference_data", "probabilities_dataset"]

_LIBRARY = "pymc_amortized"


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
        By name.
    chains : int
        Into how many chains the draws are divided.
    own_data : bool
        Whether the data are those of the model.
    """

    dataset: Dataset
    draws: Draws
    indicators: dict[str, IndicatorDraws]
    chains: int
    own_data: bool


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
    attrs = {**_made_by(), **attrs}
    groups = {"posterior": builder.posterior(var_names).assign_attrs(attrs)}
    if answer.indicators:
        groups["indicator_probabilities"] = builder.probabilities().assign_attrs(_made_by())
    groups["sample_stats"] = builder.sample_stats().assign_attrs(attrs)
    if log_likelihood:
        groups["log_likelihood"] = builder.log_likelihood(exact).assign_attrs(_made_by())
    if log_prior:
        groups["log_prior"] = builder.log_prior(exact).assign_attrs(_made_by())
    groups["observed_data"] = builder.observed_data().assign_attrs(_made_by())
    constant = builder.constant_data()
    if constant.data_vars:
        groups["constant_data"] = constant.assign_attrs(_made_by())
    return result_of_groups(groups)


def probabilities_dataset(simulator: Simulator, answer: Answer) -> xarray.Dataset:
    """Return p(z_i = k given y) of every indicator, dims (*units, component)."""
    return _Builder(simulator, answer).probabilities()


def check_var_names(spec: ModelSpec, var_names: Sequence[str]) -> None:
    """Refuse names of variables that a posterior does not hold.

    Raises
    ------
    InvalidArgumentError
        If they are not a list of known names.
    """
    known = [v.name for v in (*spec.parameters, *spec.indicators, *spec.deterministics)]
    if isinstance(var_names, str) or any(name not in known for name in var_names):
        raise InvalidArgumentError(
            f"Expected var_names to be a list of names among {known}; got {var_names!r}."
        )


def _made_by() -> dict[str, str]:
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
        self.coords = {
            name: np.asarray(values)
            for name, values in simulator.model.coords.items()
            if values is not None
        }
        self.ambiguous = self._ambiguous_dims()

    def _ambiguous_dims(self) -> set[str]:
        """Find dims along which variables have different lengths: they cannot be one axis."""
        shapes = [
            (o.dims, self.answer.dataset.observations[o.name]) for o in self.spec.observations
        ]
        shapes += [(i.dims, self.answer.indicators[i.name].values[0]) for i in self.spec.indicators]
        lengths: dict[str, set[int]] = {}
        for dims, values in shapes:
            for dim, length in zip(dims or (), values.shape, strict=False):
                lengths.setdefault(dim, set()).add(length)
        return {dim for dim, found in lengths.items() if len(found) > 1 and dim is not None}

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
        return self._dataset(
            self._array(name, self._in_chains(tensor), dims, sampled=True)
            for name, (tensor, dims) in variables.items()
        )

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
            table = self.answer.indicators[spec.name].probabilities.cpu().numpy()
            array = self._array(spec.name, table[..., 0], spec.dims)
            dim = self._component_dim(spec.name, spec.num_components)
            coordinate = self.coords.get(dim, np.asarray(spec.support))
            whole = xarray.DataArray(
                table,
                dims=(*array.dims, dim),
                coords={**array.coords, dim: coordinate},
                name=spec.name,
            )
            arrays.append(whole)
        return self._dataset(arrays)

    def _component_dim(self, name: str, num_components: int) -> str:
        """Return ``component``, or a name of its own where that is something else already."""
        supports = {spec.support for spec in self.spec.indicators}
        taken = self.coords.get("component")
        of_units = any("component" in (spec.dims or ()) for spec in self.spec.indicators)
        wrong = taken is not None and len(taken) != num_components
        if len(supports) > 1 or of_units or wrong:
            return f"{name}_value"
        return "component"

    def sample_stats(self) -> xarray.Dataset:
        draws = self.answer.draws
        stats = {"lp": draws.log_joint, "log_q": draws.log_q, "log_weight": draws.log_weight}
        arrays = [
            self._array(name, self._in_chains(tensor), None, sampled=True)
            for name, tensor in stats.items()
            if tensor is not None
        ]
        shape = (self.answer.chains, draws.log_q.shape[0] // self.answer.chains)
        arrays.append(self._array("diverging", np.zeros(shape, dtype=bool), None, sampled=True))
        return self._dataset(arrays)

    def log_likelihood(self, exact: ExactModel) -> xarray.Dataset:
        arrays = []
        frames = self.answer.dataset.frames
        parameters = {name: x.unsqueeze(1) for name, x in self.answer.draws.parameters.items()}
        for index, table in enumerate(exact.layout.tables):
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
                arrays.append(self._array(name, rows, short, sampled=True))
        return self._dataset(arrays)

    def log_prior(self, exact: ExactModel) -> xarray.Dataset:
        arrays = []
        terms = exact.density.log_prior_terms(self.answer.draws.parameters)
        for spec in self.spec.parameters:
            term = self._in_chains(terms[spec.name])
            dims = None if spec.dims is None else spec.dims[: term.ndim - 2]
            arrays.append(self._array(spec.name, term, dims, sampled=True))
        return self._dataset(arrays)

    def observed_data(self) -> xarray.Dataset:
        return self._dataset(
            self._array(o.name, self.answer.dataset.observations[o.name], o.dims)
            for o in self.spec.observations
        )

    def constant_data(self) -> xarray.Dataset:
        dims = self.simulator.model.named_vars_to_dims
        return self._dataset(
            self._array(c.name, self.answer.dataset.covariates[c.name], dims.get(c.name))
            for c in self.spec.covariates
            if c.origin == "data"
        )

    def _in_chains(self, tensor: Tensor) -> np.ndarray:
        values = tensor.detach().cpu().numpy()
        return values.reshape(self.answer.chains, -1, *values.shape[1:])

    def _array(
        self, name: str, values: np.ndarray, dims: Dims, *, sampled: bool = False
    ) -> xarray.DataArray:
        leading = ("chain", "draw") if sampled else ()
        own = values.shape[len(leading) :]
        names = [
            f"{name}_dim_{i}" if dim is None or dim in self.ambiguous else dim
            for i, dim in enumerate(dims if dims is not None else [None] * len(own))
        ]
        coords: dict[str, np.ndarray] = {
            dim: np.arange(length) for dim, length in zip(leading, values.shape, strict=False)
        }
        for dim, length in zip(names, own, strict=True):
            known = self.coords.get(dim)
            coords[dim] = known if known is not None and len(known) == length else np.arange(length)
        return xarray.DataArray(values, dims=(*leading, *names), coords=coords, name=name)

    @staticmethod
    def _dataset(arrays: Iterable[xarray.DataArray]) -> xarray.Dataset:
        return xarray.Dataset({array.name: array for array in arrays})


def _user_rows(table: UnitTable, values: Tensor, where: np.ndarray) -> Tensor:
    """Bring units in frames (S, 1, m, *units) into the order of the user's rows (S, *units)."""
    if not table.observations[0].shape:
        return values.flatten(1)[:, 0]
    if table.grouped:
        return values[:, 0, 0]
    return values[:, 0].flatten(1, 2)[:, where]
