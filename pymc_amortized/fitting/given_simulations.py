"""Simulations that were made elsewhere: checked, and brought into a model's own form."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import xarray

from torch import Tensor

from pymc_amortized.compat import groups_of_result
from pymc_amortized.errors import InvalidDataError
from pymc_amortized.model.spec import IndicatorSpec, ModelSpec, ObservationSpec
from pymc_amortized.simulation.simulated_data import FEWEST_SIMULATIONS, Simulation
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["GivenSimulations", "read_simulations"]

GivenSimulations = Mapping[str, Any] | xarray.Dataset | Simulation
"""Parameters and data sets by name, or prior and prior predictive draws of PyMC."""

_SAMPLE_DIMS = ("chain", "draw", "sample")
_GROUPS = ("prior", "prior_predictive")


def read_simulations(
    simulator: Simulator, given: GivenSimulations | Any, *, classified: bool = False
) -> Simulation:
    """Check simulations of a model, and put exchangeable components in its order.

    Parameters
    ----------
    simulator : Simulator
        The model.
    given : mapping of str to array, xarray.Dataset, InferenceData, DataTree or Simulation
        For each parameter and each observed variable an array (n, *shape); of indicators as well,
        where they have to be learned. Deterministics are passed over.
    classified : bool
        Whether indicators are to be learned although there is a density.

    Raises
    ------
    InvalidDataError
        If a variable is missing, unknown, of another shape, or holds what the model cannot make;
        or if there are fewer than 100 data sets.
    """
    arrays, spec = _by_name(given), simulator.spec
    _check_names(spec, arrays)
    names = [*simulator.parameters.names, *(o.name for o in spec.observations)]
    number = _check_lengths({name: x for name, x in arrays.items() if name in names})
    parameters = {
        p.name: _tensor(simulator, _with_shape(p.name, arrays[p.name], (number, *p.shape)))
        for p in spec.parameters
    }
    observations = {
        o.name: _tensor(simulator, _check_data(o, arrays[o.name], number))
        for o in spec.observations
    }
    required = classified or simulator.density is None
    indicators = dict(_find_indicators(simulator, arrays, number, required))
    _require_support(simulator, parameters)
    arranged, moved = simulator.labelling.arrange_all(
        parameters, indicators, {i.name: i.support[0] for i in spec.indicators}
    )
    return Simulation(arranged, moved, observations)


def _by_name(given: Any) -> dict[str, np.ndarray]:
    """Return arrays whose first axis counts data sets."""
    if isinstance(given, Simulation):
        return given.arrays
    groups = None if isinstance(given, xarray.Dataset) else groups_of_result(given)
    if groups is not None and all(name in groups for name in _GROUPS):
        return _by_name(groups["prior"].merge(groups["prior_predictive"]))
    if isinstance(given, xarray.Dataset):
        dims = [d for d in _SAMPLE_DIMS if d in given.dims]
        return {
            str(name): x.stack({"__sample": dims}).transpose("__sample", ...).to_numpy()
            for name, x in given.data_vars.items()
            if dims and set(dims) <= set(x.dims)
        }
    if not isinstance(given, Mapping):
        raise InvalidDataError(
            "Expected simulations as arrays by name, an xarray Dataset, or prior and prior "
            f"predictive draws; got {str(given)[:80]}. For instance:\n\n"
            "    pma.fit(model, simulations=pm.sample_prior_predictive(10_000, model=model))"
        )
    return {name: np.asarray(x) for name, x in given.items()}


def _check_names(spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    needed = [*(p.name for p in spec.parameters), *(o.name for o in spec.observations)]
    others = (*spec.indicators, *spec.named_indicators, *spec.deterministics)
    known = {*needed, *(x.name for x in others)}
    missing = [name for name in needed if name not in arrays]
    unknown = [name for name in arrays if name not in known]
    if missing or unknown:
        raise InvalidDataError(
            f"Expected simulations of {needed}; got "
            + (f"none of {missing[0]!r}" if missing else f"{unknown[0]!r}, which is none of them")
            + ". Name them as the model does:\n\n    simulations={"
            + ", ".join(f'"{name}": ...' for name in needed)
            + "}"
        )


def _check_lengths(arrays: Mapping[str, np.ndarray]) -> int:
    lengths = {name: len(x) if x.ndim else 0 for name, x in arrays.items()}
    if len(set(lengths.values())) > 1 or min(lengths.values()) < FEWEST_SIMULATIONS:
        raise InvalidDataError(
            f"Expected as many simulations of each variable, and {FEWEST_SIMULATIONS} at least; "
            f"got {lengths}. The first axis counts data sets:\n\n"
            "    {name: np.stack(values) for name, values in simulations.items()}"
        )
    return next(iter(lengths.values()))


def _with_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape:
        raise InvalidDataError(
            f"Expected simulations of {name!r} of shape {shape}, data sets first; got "
            f"{values.shape}."
        )
    if values.dtype.kind not in "biuf":
        raise InvalidDataError(f"Expected numbers for {name!r}; got {values.dtype}.")
    return values


def _check_data(o: ObservationSpec, values: np.ndarray, number: int) -> np.ndarray:
    """Return data sets of the model's type; 0 where the model has nothing observed."""
    values = _with_shape(o.name, values, (number, *o.shape))
    if o.observed is not None:
        axes = (1,) * (len(o.shape) - o.observed.ndim)
        values = np.where(o.observed.reshape(*o.observed.shape, *axes), values, 0)
    _require_finite(o.name, values)
    wanted = np.dtype(o.dtype)
    if wanted.kind != "f" and (values != np.round(values)).any():
        raise InvalidDataError(f"Expected whole numbers for {o.name!r}, as in the model.")
    return values.astype(wanted)


def _require_finite(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values.astype(float)).reshape(len(values), -1).all(1)
    if bad.any():
        raise InvalidDataError(
            f"Expected finite simulations of {name!r}; {int(bad.sum())} of {len(bad)} are NaN or "
            f"infinite, first number {int(bad.argmax())}. Leave them out only if that does not "
            "depend on the parameters; else have the simulator return what stands for failure."
        )


def _find_indicators(
    simulator: Simulator, arrays: Mapping[str, np.ndarray], number: int, required: bool
) -> Iterator[tuple[str, Tensor]]:
    """Yield indicators (n, *units) that are given; all that have to be learned must be."""
    for indicator in simulator.spec.indicators:
        if indicator.name in arrays:
            values = arrays[indicator.name]
        elif indicator.members and all(m.name in arrays for m in indicator.members):
            values = _join(indicator, arrays)
        elif not required:
            continue
        else:
            names = [member.name for member in indicator.named]
            raise InvalidDataError(
                f"Expected simulations of the indicators {names} too, which have to be learned, "
                "because the model has no density or a classification network was asked for."
            )
        values = _with_shape(indicator.name, values, (number, *indicator.units))
        if not np.isin(values, indicator.support).all():
            raise InvalidDataError(
                f"Expected values of {indicator.name!r} among {list(indicator.support)}; got "
                f"{values[~np.isin(values, indicator.support)][0]}."
            )
        yield indicator.name, _tensor(simulator, values.astype("int64"))


def _join(indicator: IndicatorSpec, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the values (n, *units) of a joint indicator, given those of its members."""
    first = arrays[indicator.members[0].name]
    joint = np.full(first.shape[: 1 + len(indicator.units)], indicator.support[0] - 1)
    for place, value in enumerate(indicator.support):
        joined = torch.full((1, *indicator.units), place)
        same = np.ones(joint.shape, dtype=bool)
        for member in indicator.members:
            expected = member.digits.decode(joined).numpy()
            equal = arrays[member.name] == expected
            same &= equal.reshape(*joint.shape, -1).all(-1)
        joint[same] = value
    return joint


def _require_support(simulator: Simulator, parameters: Mapping[str, Tensor]) -> None:
    if not parameters:
        return
    for name, values in parameters.items():
        _require_finite(name, values.cpu().numpy())
    _, inside = simulator.as_written.parameters.unconstrain_within(parameters)
    if not bool(inside.all()):
        first = int((~inside).nonzero()[0])
        values = {name: x[first].tolist() for name, x in parameters.items()}
        raise InvalidDataError(
            f"Expected parameters inside the support of their priors; {int((~inside).sum())} of "
            f"{len(inside)} simulations have others, first number {first}: {values}. Simulate from "
            "the prior of the model, for a network learns the posterior of the prior that it saw."
        )


def _tensor(simulator: Simulator, values: np.ndarray) -> Tensor:
    values = values.astype(float) if values.dtype == np.float32 else values
    return torch.as_tensor(np.ascontiguousarray(values), device=simulator.device)
