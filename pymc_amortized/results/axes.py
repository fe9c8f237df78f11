"""Names of axes and their coordinates, from a model's dims; and of tables of probabilities."""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.inference.indicators.conditional import IndicatorDraws
from pymc_amortized.model.spec import Dims, IndicatorSpec, ModelSpec
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["ModelAxes", "dataset_of", "probability_tables", "viterbi_name"]


class ModelAxes:
    """Names the axes of arrays as the model does.

    Parameters
    ----------
    simulator : Simulator
        The model.
    shapes : iterable of (dims, shape)
        Of observations and indicators. A dim along which they have different lengths cannot be one
        axis, and is not used.
    leading : mapping of str to int
        Axes before those of the model, with their lengths.
    """

    def __init__(
        self,
        simulator: Simulator,
        shapes: Iterable[tuple[Dims, tuple[int, ...]]],
        leading: Mapping[str, int],
    ) -> None:
        self.spec = simulator.spec
        self.leading = {dim: np.arange(length) for dim, length in leading.items()}
        self.coords = {
            name: np.asarray(values)
            for name, values in simulator.model.coords.items()
            if values is not None
        }
        lengths: dict[str, set[int]] = {}
        for dims, shape in shapes:
            for dim, length in zip(dims or (), shape, strict=False):
                lengths.setdefault(dim, set()).add(length)
        self._ambiguous = {d for d, found in lengths.items() if len(found) > 1 and d is not None}

    def array(
        self, name: str, values: np.ndarray, dims: Dims, leading: Iterable[str] = ()
    ) -> xarray.DataArray:
        """Return values (*leading, *shape) with names and coordinates.

        Parameters
        ----------
        name : str
            Of the variable.
        values : numpy.ndarray
            Its values.
        dims : tuple of str or None
            Names of the model's axes.
        leading : iterable of str
            Which of the leading axes it has.
        """
        first = tuple(leading)
        own = values.shape[len(first) :]
        names = [
            f"{name}_dim_{i}" if dim is None or dim in self._ambiguous else dim
            for i, dim in enumerate(dims if dims is not None else [None] * len(own))
        ]
        coords = {dim: self.leading[dim] for dim in first}
        for dim, length in zip(names, own, strict=True):
            known = self.coords.get(dim)
            coords[dim] = known if known is not None and len(known) == length else np.arange(length)
        return xarray.DataArray(values, dims=(*first, *names), coords=coords, name=name)

    def probabilities(
        self,
        name: str,
        table: np.ndarray,
        leading: Iterable[str] = (),
        called: str | None = None,
    ) -> xarray.DataArray:
        """Return probabilities (*leading, *units, K) of an indicator, under a name of its own."""
        spec = next(i for i in self.spec.named_indicators if i.name == name)
        array = self.array(name, table[..., 0], spec.dims, leading)
        dim = self._component_dim(spec)
        coordinate = self.coords.get(dim, np.asarray(spec.support))
        return xarray.DataArray(
            table,
            dims=(*array.dims, dim),
            coords={**array.coords, dim: coordinate},
            name=name if called is None else called,
        )

    def _component_dim(self, indicator: IndicatorSpec) -> str:
        """Return the dim of its weights, if these have one; else ``component`` or ``state``.

        Or a name of its own, where that is something else.
        """
        known = self.coords.get(indicator.value_dim)
        of_units = any(indicator.value_dim in (i.dims or ()) for i in self.spec.named_indicators)
        if known is not None and len(known) == indicator.num_components and not of_units:
            return indicator.value_dim
        word = "state" if indicator.is_sequence else "component"
        alike = [i for i in self.spec.named_indicators if i.is_sequence == indicator.is_sequence]
        supports = {i.support for i in alike}
        taken = self.coords.get(word)
        of_units = any(word in (i.dims or ()) for i in self.spec.named_indicators)
        wrong = taken is not None and len(taken) != indicator.num_components
        if len(supports) > 1 or of_units or wrong:
            return f"{indicator.name}_value"
        return word


def dataset_of(arrays: Iterable[xarray.DataArray]) -> xarray.Dataset:
    """Return arrays by their names."""
    return xarray.Dataset({array.name: array for array in arrays})


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
        _name(spec, indicator, "smoothing"): drawn.probabilities,
        _name(spec, indicator, "filtering"): drawn.filtering,
    }


def viterbi_name(spec: ModelSpec, indicator: IndicatorSpec) -> str:
    """Return the name of the most probable path of a chain."""
    return _name(spec, indicator, "viterbi")


def _name(spec: ModelSpec, indicator: IndicatorSpec, kind: str) -> str:
    return kind if len(spec.named_indicators) == 1 else f"{indicator.name}_{kind}"
