"""Which dims of a posterior count the components whose labels are permuted.

All variables of a component are permuted together, or draws are of no posterior any more. Variables
without named dims have dims of their own (``mu_dim_0``, ``w_dim_0``), so one name is not enough.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import xarray

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.labels.single_components import SingleComponents
from pymc_amortized.messages import warn
from pymc_amortized.results.reading import SAMPLED
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.exchangeable import Exchangeable

__all__ = ["component_dims"]

_USUAL_DIMS = ("component", "state")


def component_dims(
    posterior: xarray.Dataset,
    given: str | Sequence[str] | None,
    model: Simulator | None = None,
) -> tuple[str, ...]:
    """Return the dims of a posterior that count its components.

    Parameters
    ----------
    posterior : xarray.Dataset
        Draws, with dims chain and draw.
    given : str, sequence of str, or None
        What the user says. None: the dims of what the model can exchange, if it is known; else
        ``"component"`` or ``"state"``; else all dims without a name of their own that are equally
        long.
    model : Simulator, optional
        That the draws are from.

    Raises
    ------
    InvalidArgumentError
        If dims are missing, differ in length, or leave out others of the same components.
    """
    known = [str(dim) for dim in posterior.dims if dim not in SAMPLED]
    of_model = () if model is None else _dims_of_model(posterior, model, given)
    if given is None:
        usual = tuple(dim for dim in _USUAL_DIMS if dim in known)
        dims = of_model or (usual if len(usual) == 1 else _all_automatic(posterior))
    else:
        dims = (given,) if isinstance(given, str) else tuple(given)
    missing = [dim for dim in dims if dim not in known]
    if not dims or missing:
        raise InvalidArgumentError(
            f"Expected component_dim to name dims of the posterior, among {known}; got {given!r}. "
            f"For instance:\n\n    component_dim={_suggestion(posterior, known)}\n\nWhere "
            "components are variables of their own, the model knows them:\n\n"
            "    pma.relabel(idata, model=model)"
        )
    lengths = {dim: posterior.sizes[dim] for dim in dims}
    if len(set(lengths.values())) > 1 or min(lengths.values()) < 2:
        raise InvalidArgumentError(
            f"Expected dims of the same length, at least 2, for they count the same components; "
            f"got {lengths}."
        )
    if given is None and model is None:
        _require_no_single_components(posterior, dims)
    _require_all(posterior, dims, of_model)
    return dims


def _require_no_single_components(posterior: xarray.Dataset, dims: tuple[str, ...]) -> None:
    """Refuse to guess where names tell of components that are variables of their own.

    Raises
    ------
    InvalidArgumentError
        If there are as many names with one stem and a number as the dims are long.
    """
    stems: dict[tuple, list[str]] = {}
    for name, array in posterior.data_vars.items():
        stem = str(name).rstrip("0123456789")
        if array.dtype.kind == "f" and stem != name and not set(dims) & set(array.dims):
            stems.setdefault((stem, array.shape), []).append(str(name))
    likely = next((n for n in stems.values() if len(n) == posterior.sizes[dims[0]]), None)
    if likely is not None:
        raise InvalidArgumentError(
            f"Expected all that belongs to components to have a dim that counts them, such as "
            f"{dims}; {likely} may be variables of single components, and would be left as they "
            "are. Give the model, which knows, or say that they are none:\n\n"
            f"    pma.relabel(idata, model=model)\n    component_dim={dims}"
        )


def _dims_of_model(
    posterior: xarray.Dataset, model: Simulator, given: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the dims of all that a model can exchange; none where it tells components apart."""
    parameters = {parameter.name for parameter in model.spec.parameters}
    whole = (e for e in model.exchangeable if not e.is_partial)
    found = [tuple(_dims_of(posterior, e, parameters)) for e in whole]
    if given is not None:
        named = {given} if isinstance(given, str) else set(given)
        found = [dims for dims in found if named & set(dims)]
    elif len(found) > 1:
        raise InvalidArgumentError(
            "Expected to be told which components are relabelled, for the model has several kinds "
            f"of them. Name one of:\n\n    {', '.join(f'component_dim={dims}' for dims in found)}"
        )
    return found[0] if found else ()


def _dims_of(
    posterior: xarray.Dataset, exchangeable: Exchangeable, parameters: Collection[str]
) -> Iterator[str]:
    """Yield the dims of parameters that are exchanged, and of what is computed from them.

    Parameters of single components lie side by side, along a dim of the name of them all.
    """
    singles = SingleComponents(None, exchangeable.parts.variables, exchangeable.parts.mirrored)
    seen = [dim for dim in singles.dims_of(exchangeable.names) if dim in posterior.dims]
    for name, axis in exchangeable.parts.axes:
        if name in posterior:
            seen.append(str(posterior[name].transpose(*SAMPLED, ...).dims[2 + axis]))
    for name, dims in _automatic_dims(posterior):
        if name not in parameters:
            seen += [dim for dim in dims if posterior.sizes[dim] == exchangeable.num_labels]
    yield from dict.fromkeys(seen)


def _automatic_dims(posterior: xarray.Dataset) -> Iterator[tuple[str, list[str]]]:
    """Yield the variables of numbers with dims that ArviZ has named, and these dims."""
    for name, array in posterior.data_vars.items():
        own = {f"{name}_dim_{axis}" for axis in range(array.ndim)}
        dims = [str(dim) for dim in array.dims if dim in own and posterior.sizes[dim] > 1]
        if dims and array.dtype.kind == "f":
            yield str(name), dims


def _all_automatic(posterior: xarray.Dataset) -> tuple[str, ...]:
    """Return all dims without names of their own, if it is clear that they count components."""
    labels = [x for x in posterior.data_vars.values() if x.dtype.kind in "iu"]
    units = {n for x in labels for dim, n in x.sizes.items() if dim not in SAMPLED}
    found: dict[int, list[str]] = {}
    for name, dims in _automatic_dims(posterior):
        for length in {posterior.sizes[dim] for dim in dims} - units:
            own = [dim for dim in dims if posterior.sizes[dim] == length]
            if len(own) > 1 and not _is_transition(posterior[name], own):
                raise InvalidArgumentError(
                    f"Expected to be told which dims count components; {name!r} has several of "
                    f"the same length, {own}. Give the model, which knows, or name them:\n\n"
                    f"    pma.relabel(idata, model=model)\n    component_dim={(own[0],)}"
                )
            found.setdefault(length, []).extend(own)
    return tuple(next(iter(found.values()))) if len(found) == 1 else ()


def _is_transition(array: xarray.DataArray, dims: Sequence[str]) -> bool:
    """Tell whether numbers are probabilities of moving from each component to each."""
    return len(dims) == 2 and bool(np.allclose(array.sum(dims[-1]), 1.0) and (array >= 0).all())


def _suggestion(posterior: xarray.Dataset, known: Sequence[str]) -> str:
    named = [dim for dim in known if "_dim_" not in dim]
    if named or not known:
        return repr((named or ["component"])[0])
    some = next((dims[0] for _, dims in _automatic_dims(posterior)), known[0])
    return repr((some, *_as_long(posterior, (some,))))


def _as_long(posterior: xarray.Dataset, dims: Sequence[str]) -> list[str]:
    """Return the dims that ArviZ has named of variables that have none of these, if as long."""
    length = posterior.sizes[dims[0]]
    return [
        dim
        for name, own in _automatic_dims(posterior)
        for dim in own
        if not set(posterior[name].dims) & set(dims) and posterior.sizes[dim] == length
    ]


def _require_all(
    posterior: xarray.Dataset, dims: tuple[str, ...], of_model: tuple[str, ...]
) -> None:
    """Refuse dims that leave out others of the same components.

    Raises
    ------
    InvalidArgumentError
        If the model has others, or a dim that belongs to one variable alone is not the only one.

    Warns
    -----
    UserWarning
        If there are others which may count components, where no model tells.
    """
    forgotten = [dim for dim in of_model if dim not in dims]
    others = forgotten or ([] if of_model else _as_long(posterior, dims))
    if not others:
        return
    whole = (*dims, *others)
    automatic = {dim for _, own in _automatic_dims(posterior) for dim in own}
    if forgotten or (len(dims) == 1 and dims[0] in automatic):
        raise InvalidArgumentError(
            f"Expected all dims that count the same components; got {dims}, while {others} are "
            "as long: what is permuted without the rest is a draw of no posterior. Give all of "
            f"them, or the model, which knows them:\n\n    component_dim={whole}\n"
            "    pma.relabel(idata, model=model)"
        )
    warn(
        f"{others} are as long as {dims}, and are left as they are. If they count the same "
        f"components, give all: component_dim={whole}.",
        UserWarning,
    )
