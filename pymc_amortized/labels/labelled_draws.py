"""A posterior with labels: where they are, and arrays that methods of relabelling need."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.labels.component_dims import component_dims
from pymc_amortized.messages import warn
from pymc_amortized.results.reading import SAMPLED, sampled
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["LabelledDraws", "of_components"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledDraws:
    """A posterior, and where its labels are.

    Attributes
    ----------
    groups : dict of str to xarray.Dataset
        All groups of the result.
    dims : tuple of str
        That count components.
    indicators : tuple of str
        Variables whose values are labels.
    """

    groups: dict[str, xarray.Dataset]
    dims: tuple[str, ...]
    indicators: tuple[str, ...]

    @classmethod
    def read(
        cls,
        groups: dict[str, xarray.Dataset],
        component_dim: str | Sequence[str] | None,
        indicators: Sequence[str] | None,
        model: Simulator | None = None,
    ) -> "LabelledDraws":
        """Check names; a model knows which dims are exchanged together."""
        posterior = sampled(groups)
        dims = component_dims(posterior, component_dim, model)
        if indicators is None:
            known = groups.get("indicator_probabilities", {})
            names = _names_of_tables(known, posterior)
            if len(names) > 1:
                raise InvalidArgumentError(
                    f"Expected to be told which indicators count {list(dims)}, for there are "
                    f"several, {names}. Name those whose labels are permuted:\n\n"
                    f"    pma.relabel(idata, component_dim={dims[0]!r}, indicators={names[:1]})"
                )
            _warn_of_others(posterior, names, posterior.sizes[dims[0]])
        else:
            names = [indicators] if isinstance(indicators, str) else list(indicators)
        draws = cls(groups, dims, tuple(names))
        for name in names:
            draws.require_labels(name)
        return draws

    @property
    def posterior(self) -> xarray.Dataset:
        """Its draws, of parameters and of indicators."""
        return sampled(self.groups)

    @property
    def num_labels(self) -> int:
        """K."""
        return self.posterior.sizes[self.dims[0]]

    @property
    def shape(self) -> tuple[int, int]:
        """Chains and draws."""
        return self.posterior.sizes["chain"], self.posterior.sizes["draw"]

    def require_labels(self, name: str) -> None:
        """Refuse a variable whose values are not labels.

        Raises
        ------
        InvalidArgumentError
            If there is no such variable, or it holds something else than integers below K.
        """
        found = self.posterior.get(name)
        if (
            found is None
            or found.dtype.kind not in "iu"
            or not _names_within(found, self.num_labels)
        ):
            what = "nothing of this name" if found is None else f"values of type {found.dtype}"
            if found is not None and found.dtype.kind in "iu":
                what = f"values from {int(found.min())} to {int(found.max())}"
            raise InvalidArgumentError(
                f"Expected the indicator {name!r} to hold labels from 0 to {self.num_labels - 1}; "
                f"got {what}."
            )

    def labels(self) -> np.ndarray:
        """Return the labels (S, N) of all units of all indicators.

        Raises
        ------
        InvalidArgumentError
            If there are none.
        """
        if not self.indicators:
            raise InvalidArgumentError(
                "Expected indicators, by which this method relabels; got none. Add them first, or "
                "name them, or relabel by parameters:\n\n"
                "    idata = pma.add_indicators(idata, model)\n"
                '    pma.relabel(idata, indicators=["z"])\n'
                '    pma.relabel(idata, "pra")'
            )
        return np.concatenate([self.flat(self.posterior[n]) for n in self.indicators], axis=1)

    def flat(self, array: xarray.DataArray) -> np.ndarray:
        """Return a variable as (S, everything else)."""
        values = array.transpose(*SAMPLED, ...).to_numpy()
        return values.reshape(int(np.prod(self.shape)), -1)

    def parameters(self) -> np.ndarray:
        """Return the parameters (S, K, J) of components; of transition matrices, the diagonal.

        Raises
        ------
        InvalidArgumentError
            If no variable of numbers has the component dim.
        """
        columns = [column for _, column in self.columns_by_name()]
        if not columns:
            raise InvalidArgumentError(
                f"Expected parameters of dims {list(self.dims)}; got none among "
                f"{list(self.posterior.data_vars)}."
            )
        return np.concatenate(columns, axis=-1)

    def columns_by_name(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each variable of numbers with a component dim, as (S, K, J)."""
        for name, array in self.posterior.data_vars.items():
            own = [dim for dim in array.dims if dim in self.dims]
            if own and name not in self.indicators and array.dtype.kind == "f":
                yield str(name), self._columns(array, own)

    def _columns(self, array: xarray.DataArray, own: Sequence[str]) -> np.ndarray:
        moved = array.transpose(*SAMPLED, *own, ...).to_numpy()
        return of_components(moved.reshape(-1, *moved.shape[2:]), range(1, 1 + len(own)))

    def of(self, name: str) -> np.ndarray:
        """Return one variable (S, K) by which components can be ordered.

        Raises
        ------
        InvalidArgumentError
            If it is not one number for each component.
        """
        found = self.posterior.get(name)
        if found is None or not self._has_one_each(found):
            known = [n for n, x in self.posterior.data_vars.items() if self._has_one_each(x)]
            raise InvalidArgumentError(
                f"Expected a variable with one number for each component, among {known}; got "
                f"{name!r}. For instance:\n\n"
                f'    pma.relabel(idata, "ordering", by={(known or ["mu"])[0]!r})'
            )
        return self.flat(found)

    def _has_one_each(self, array: xarray.DataArray) -> bool:
        """Tell whether an array has one number for each component."""
        own = [dim for dim in array.dims if dim not in SAMPLED]
        return len(own) == 1 and own[0] in self.dims and array.dtype.kind == "f"

    def pivot(self, given: tuple[int, int] | None) -> int:
        """Return the position of the draw that others are compared with.

        Raises
        ------
        InvalidArgumentError
            If it is not there, or no log density tells which draw is the most probable one.
        """
        chains, draws = self.shape
        if given is not None:
            if not (0 <= given[0] < chains and 0 <= given[1] < draws):
                raise InvalidArgumentError(
                    f"Expected a pivot among {chains} chains and {draws} draws; got {given!r}."
                )
            return given[0] * draws + given[1]
        stats = self.groups.get("sample_stats", {})
        if "lp" not in stats:
            raise InvalidArgumentError(
                "Expected a pivot, for there is no log density 'lp' in sample_stats that tells "
                "which draw is the most probable one. Choose one:\n\n"
                "    pma.relabel(idata, ..., pivot=(0, 0))"
            )
        return int(np.nanargmax(self.flat(stats["lp"])))


def of_components(values: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return draws (S, *shape) as (S, K, J): of several axes of components, the diagonal."""
    moved = np.moveaxis(values, axes, range(1, 1 + len(axes)))
    for _ in axes[1:]:
        moved = np.moveaxis(np.diagonal(moved, axis1=1, axis2=2), -1, 1)
    return moved.reshape(*moved.shape[:2], -1)


def _names_of_tables(
    tables: Mapping[str, xarray.DataArray], posterior: xarray.Dataset
) -> list[str]:
    """Return the indicators that tables of probabilities belong to."""
    direct = [str(name) for name in tables if name in posterior]
    if direct or not len(tables):
        return direct
    chains = [name.removesuffix("_smoothing") for name in tables if name.endswith("_smoothing")]
    if chains:
        return [name for name in chains if name in posterior]
    units = set(tables["smoothing"].dims[:-1]) if "smoothing" in tables else None
    return [
        name
        for name, array in posterior.data_vars.items()
        if array.dtype.kind in "iu" and set(array.dims) - set(SAMPLED) == units
    ]


def _warn_of_others(posterior: xarray.Dataset, names: Sequence[str], num_labels: int) -> None:
    others = [
        name
        for name, array in posterior.data_vars.items()
        if name not in names and array.dtype.kind in "iu" and _names_within(array, num_labels)
    ]
    if others:
        warn(
            f"{others} may be indicators, with labels that are left as they are. Name those that "
            f"are, so that they follow their components: indicators={others}, or indicators=[].",
            UserWarning,
        )


def _names_within(array: xarray.DataArray, num_labels: int) -> bool:
    return bool(((array >= 0) & (array < num_labels)).all())
