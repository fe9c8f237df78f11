"""The reading of a model: what was found, as frozen data that a person can read at a glance."""

import html
import textwrap

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pymc_amortized.model.indicators.indicator_spec import Dims, IndicatorSpec

__all__ = [
    "CovariateSpec",
    "DeterministicSpec",
    "IndicatorSpec",
    "ModelSpec",
    "ObservationSpec",
    "ParameterSpec",
    "without_density",
]


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A continuous free variable.

    Attributes
    ----------
    name : str
        As in the model.
    shape, unconstrained_shape : tuple of int
        Of one draw, in the model and in PyMC's unconstrained space.
    dims : tuple of str, or None
        Names of the axes.
    distribution : str
        Name of the prior.
    transform : str or None
        Name of PyMC's transform.
    support : str
        Where the transform leads, in words.
    """

    name: str
    shape: tuple[int, ...]
    unconstrained_shape: tuple[int, ...]
    dims: Dims
    distribution: str
    transform: str | None
    support: str


@dataclass(frozen=True, slots=True, eq=False)
class ObservationSpec:
    """An observed variable.

    Attributes
    ----------
    name : str
        As in the model.
    shape : tuple of int
        Of one data set.
    event_shape : tuple of int
        The axes that belong to one value: those of a multivariate distribution, and those along
        which a unit is observed repeatedly.
    dtype : str
        NumPy's name.
    indicator : str or None
        On which it depends.
    owner : numpy.ndarray of int
        Unit (flat index) of each entry; -1 where it depends on none.
    observed : numpy.ndarray of bool, or None
        False where missing; None where nothing is.
    exchangeable : bool
        Whether units can be permuted, together with the covariates that run along them.
    density : str or None
        Why there is no density; None where there is one.
    dims : tuple of str, or None
        Names of the axes.
    depends_on : tuple of str
        Other observed variables of which it is a function.
    """

    name: str
    shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    dtype: str
    indicator: str | None
    owner: np.ndarray
    observed: np.ndarray | None
    exchangeable: bool
    density: str | None
    dims: Dims
    depends_on: tuple[str, ...] = ()

    @property
    def num_missing(self) -> int:
        """How many entries are masked."""
        return 0 if self.observed is None else int((~self.observed).sum())


@dataclass(frozen=True, slots=True)
class CovariateSpec:
    """Data that the model conditions on.

    Attributes
    ----------
    name : str
        As in the model, or ``<observation>_covariate_<i>`` for a bare array.
    shape : tuple of int
        Of the data.
    origin : {"data", "constant"}
        ``pm.Data``, or a bare array.
    unit_axes : dict of str to int
        For each observation along whose units it runs, by which of its axes.
    local : bool
        Whether units depend on their own rows of it alone, and not on the mean of all, say.
    in_prior : bool
        Whether the prior of some parameter depends on it.
    counted : bool
        Whether the model calculates with the number of its units.
    """

    name: str
    shape: tuple[int, ...]
    origin: str
    unit_axes: dict[str, int]
    local: bool = True
    in_prior: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class DeterministicSpec:
    """A computed variable.

    Attributes
    ----------
    name : str
        As in the model.
    depends_on_indicators : bool
        Whether it needs z, or θ alone.
    depends_on_data : bool
        Whether it needs observed values, or covariates that run along units.
    """

    name: str
    depends_on_indicators: bool
    depends_on_data: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ModelSpec:
    """The reading of a model.

    Attributes
    ----------
    parameters, indicators, observations, covariates, deterministics : tuple
        What the model consists of.
    potentials : tuple of str
        Names of the potentials, all of them constraints on parameters.
    structure : {"set", "sequence"}
        Exchangeable units, given their covariates; or Markov chains.
    learned : tuple of str
        Names of the observations whose density is that of a likelihood network.
    """

    parameters: tuple[ParameterSpec, ...]
    indicators: tuple[IndicatorSpec, ...]
    observations: tuple[ObservationSpec, ...]
    covariates: tuple[CovariateSpec, ...]
    deterministics: tuple[DeterministicSpec, ...]
    potentials: tuple[str, ...]
    structure: Literal["set", "sequence"]
    learned: tuple[str, ...] = ()

    def with_learned_density(self) -> "ModelSpec":
        """Return the same, with densities that were learned where there were none."""
        missing = tuple(o.name for o in self.observations if o.density is not None)
        observations = tuple(replace(o, density=None) for o in self.observations)
        return replace(self, observations=observations, learned=missing)

    @property
    def has_density(self) -> bool:
        """Whether every observed variable and every indicator has a density, be it learned."""
        return all(v.density is None for v in (*self.observations, *self.indicators))

    @property
    def named_indicators(self) -> tuple[IndicatorSpec, ...]:
        """The indicators as the model has them: those that a joint one stands for, each."""
        return tuple(named for indicator in self.indicators for named in indicator.named)

    def whole_of(self, indicator: IndicatorSpec) -> IndicatorSpec:
        """Return the joint indicator that one belongs to; itself, if there is none."""
        return next(i for i in self.indicators if indicator in i.named)

    def __repr__(self) -> str:
        lines = [self._headline()]
        for title, rows in self._tables():
            lines += ["", title, *_columns(rows)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self._headline())}</b></p>"]
        for title, rows in self._tables():
            header, *body = rows
            cells = "".join(f"<th style='text-align:left'>{html.escape(c)}</th>" for c in header)
            lines = "".join(
                "<tr>"
                + "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in row)
                + "</tr>"
                for row in body
            )
            parts.append(
                f"<table><caption style='text-align:left'>{html.escape(title)}</caption>"
                f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
            )
        return "".join(parts)

    def _headline(self) -> str:
        size = sum(int(np.prod(p.unconstrained_shape)) for p in self.parameters)
        names = ", ".join(i.name for i in self.named_indicators)
        latent = names or "no indicator: parameters only"
        density = "with density" if self.has_density else "without density"
        density = "with a density that was learned" if self.learned else density
        return f"Model of a {self.structure}, {density}: {size} unconstrained parameters; {latent}"

    def _tables(self) -> list[tuple[str, list[list[str]]]]:
        tables = [
            ("Parameters", _parameter_rows(self.parameters)),
            ("Indicators", _indicator_rows(self.indicators)),
            ("Observations", _observation_rows(self.observations)),
            ("Covariates", _covariate_rows(self.covariates)),
            ("Deterministics", _deterministic_rows(self.deterministics)),
            ("Potentials", [["name", "role"], *([p, "constraint"] for p in self.potentials)]),
        ]
        return [(title, rows) for title, rows in tables if len(rows) > 1]


def _parameter_rows(parameters: Sequence[ParameterSpec]) -> list[list[str]]:
    rows = [["name", "shape", "prior", "transform", "support"]]
    for p in parameters:
        shape = _shape(p.shape, p.dims)
        rows.append([p.name, shape, p.distribution, p.transform or "-", p.support])
    return rows


def _indicator_rows(indicators: Sequence[IndicatorSpec]) -> list[list[str]]:
    rows = [["name", "units", "K", "kind", "from"]]
    for i in indicators:
        kind = i.kind if i.order < 2 else f"{i.kind}, order {i.order}"
        kind += ", time-varying" if i.time_varying else ""
        rows.append([i.name, _shape(i.units, i.dims), str(i.num_components), kind, i.origin])
    return rows


def _observation_rows(observations: Sequence[ObservationSpec]) -> list[list[str]]:
    rows = [["name", "shape", "event", "type", "missing", "indicator", "exchangeable", "density"]]
    for o in observations:
        rows.append(
            [
                o.name,
                _shape(o.shape, o.dims),
                str(o.event_shape) if o.event_shape else "-",
                o.dtype,
                str(o.num_missing or "-"),
                o.indicator or "-",
                "yes" if o.exchangeable else "no",
                "yes" if o.density is None else f"no: {textwrap.shorten(o.density, 60)}",
            ]
        )
    return rows


def _covariate_rows(covariates: Sequence[CovariateSpec]) -> list[list[str]]:
    rows = [["name", "shape", "from", "runs along the units of"]]
    for c in covariates:
        along = ", ".join(f"{name} (axis {axis})" for name, axis in c.unit_axes.items())
        origin = "pm.Data" if c.origin == "data" else "array"
        rows.append([c.name, str(c.shape), origin, along or "-"])
    return rows


def _deterministic_rows(deterministics: Sequence[DeterministicSpec]) -> list[list[str]]:
    rows = [["name", "computed from"]]
    sources = {True: "parameters and indicators", False: "parameters"}
    return rows + [[d.name, sources[d.depends_on_indicators]] for d in deterministics]


def _shape(shape: tuple[int, ...], dims: Dims) -> str:
    if not shape:
        return "scalar"
    if dims is None:
        return " x ".join(map(str, shape))
    return " x ".join(f"{dim or '?'}: {size}" for dim, size in zip(dims, shape, strict=False))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def without_density(spec: ModelSpec) -> str:
    """Name what has no density, and why."""
    return "; ".join(
        f"{v.name} has no density ({v.density.removeprefix(f'{v.name}: ')})"
        for v in (*spec.observations, *spec.indicators)
        if v.density
    )
