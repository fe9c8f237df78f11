"""Relabelling of any ArviZ result, draw by draw, and whether its labels switch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray

from pymc_amortized.compat import result_of_groups
from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError
from pymc_amortized.labels.add_indicators import memberships_of_result, read_model, with_indicators
from pymc_amortized.labels.algorithms import (
    Relabelling,
    aic,
    data_based,
    ecr,
    ecr_iterative_1,
    ecr_iterative_2,
    ordering,
    permute,
    permute_labels,
    pra,
    stephens,
)
from pymc_amortized.labels.labelled_draws import LabelledDraws
from pymc_amortized.labels.single_components import SingleComponents
from pymc_amortized.messages import warn
from pymc_amortized.results.reading import SAMPLED, groups_with_posterior, sampled
from pymc_amortized.rng import RandomSeed
from pymc_amortized.symmetry.exchangeable import Exchangeable

if TYPE_CHECKING:
    import pymc

__all__ = ["RelabelMethod", "relabel"]

RelabelMethod = Literal[
    "auto",
    "ordering",
    "aic",
    "pra",
    "ecr",
    "ecr_iterative_1",
    "ecr_iterative_2",
    "stephens",
    "data_based",
]
"""Names of methods, as in the literature."""

_OF_LABELS = ("ecr", "ecr_iterative_1", "ecr_iterative_2", "data_based")
_OF_PROBABILITIES = ("stephens", "ecr_iterative_2")
_PERMUTATION = "label_permutation"


def relabel(
    idata: Any,
    method: RelabelMethod = "auto",
    *,
    component_dim: str | Sequence[str] | None = None,
    by: str | None = None,
    indicators: Sequence[str] | None = None,
    data: str | None = None,
    pivot: tuple[int, int] | None = None,
    model: "pymc.Model | None" = None,
    random_seed: RandomSeed = None,
) -> Any:
    """Give the components of all draws comparable labels.

    The posterior of a mixture whose components have the same prior has a mode for each order of
    their labels, and chains wander between them. Here every variable that has the component dim is
    permuted, draw by draw, and the indicators with it.

    Parameters
    ----------
    idata : InferenceData or DataTree
        With a group ``posterior``, from any sampler. It is not changed.
    method : str
        ``"ordering"``: by the variable ``by``. ``"aic"``: by the variable that separates components
        best. ``"pra"``: nearest to a pivot draw. ``"ecr"``, ``"ecr_iterative_1"``,
        ``"ecr_iterative_2"``: most units with the label of a pivot, of their most frequent label,
        of their most probable one. ``"stephens"``: memberships as alike as possible.
        ``"data_based"``: clusters of data as alike as possible. ``"auto"``: the best that can be
        done, ``"stephens"`` with a model, ``"ecr_iterative_1"`` with indicators, ``"pra"`` else.
    component_dim : str or sequence of str
        The dims that count components, whose axes are permuted together: several for transition
        matrices, and where variables have dims without a name of their own (``mu_dim_0``,
        ``w_dim_0``). No other dim is touched. Default: those of what ``model`` can exchange;
        without one ``"component"`` or ``"state"``, or else all dims without a name, if they are
        of one length. Attributes of the result's posterior say which (``relabelled_dims``).
    by : str, optional
        A variable with one number for each component, or with a ``model`` one of those that are
        single components'. For ``"ordering"``, by which each draw is
        ordered; for other methods, by whose means components are numbered in the end.
    indicators : sequence of str, optional
        Variables whose values are labels, from 0 to K - 1. Default: those with probabilities in the
        group ``indicator_probabilities``, as :func:`pymc_amortized.add_indicators` puts them there.
    data : str, optional
        For ``"data_based"``, the observed variable. Default: the only one.
    pivot : (int, int), optional
        For ``"pra"`` and ``"ecr"``, positions of the chain and the draw. Default: where ``lp`` in
        ``sample_stats`` is largest.
    model : pymc.Model, optional
        That the draws are from. ``"stephens"`` and ``"ecr_iterative_2"`` need it, for the
        memberships of each draw.
    random_seed : int, sequence of int, numpy.random.Generator or None
        Of the indicators, which are added where a model is given and the posterior lacks them.

    Returns
    -------
    InferenceData or DataTree
        A new one; attributes of its posterior say by which method. ``sample_stats`` has the
        permutations as ``label_permutation``, dims (chain, draw, component): for each new label,
        which old one it is. Probabilities of indicators are those of the new labels: exact with a
        model, and shares of draws without; filtering and Viterbi paths are there with a model only.

    Raises
    ------
    InvalidArgumentError
        If the method is unknown, a dim is not there or leaves others of the same components out,
        or what the method needs is missing.
    InvalidDataError
        If this is not a posterior.

    Warns
    -----
    AccuracyWarning
        If a model is given that tells its components apart.

    Notes
    -----
    No method enumerates permutations where there are more than 120: K is not limited.

    Examples
    --------
    >>> import pymc_amortized as pma
    >>> import xarray
    >>> mu = xarray.DataArray([[[-2.0, 2.0], [2.1, -1.9]]], dims=("chain", "draw", "component"))
    >>> idata = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"mu": mu})})
    >>> pma.relabel(idata, "ordering", by="mu").posterior["mu"].values.tolist()
    [[[-2.0, 2.0], [-1.9, 2.1]]]
    """
    if method not in get_args(RelabelMethod):
        raise InvalidArgumentError(
            f"Expected a method among {list(get_args(RelabelMethod))}; got {method!r}."
        )
    groups = groups_with_posterior(idata)
    problem = None if model is None else read_model(model)
    simulator = None if problem is None else problem.simulator
    singles = SingleComponents.of_model(simulator)
    draws = LabelledDraws.read(singles.fold(groups), component_dim, indicators, simulator)
    by = singles.together(by)
    if method == "auto":
        method = (
            "stephens" if model is not None else "ecr_iterative_1" if draws.indicators else "pra"
        )
    if problem is not None:
        _warn_of_unlike(simulator.exchangeable, draws)

    def memberships() -> np.ndarray:
        return memberships_of_result(groups, problem, draws.num_labels)

    known = None if problem is None else memberships
    found = _find(draws, method, by=by, data=data, pivot=pivot, memberships=known)
    if by is not None and method != "ordering":
        found = _number(found, draws.of(by))
    relabelled = singles.unfold(_relabel_group(draws, found, method), groups)
    if problem is not None:
        relabelled = with_indicators(relabelled, problem, random_seed)
    return result_of_groups(relabelled)


def _warn_of_unlike(exchangeable: Sequence[Exchangeable], draws: LabelledDraws) -> None:
    """Say that draws which are permuted are no longer draws of the model's posterior.

    Warns
    -----
    AccuracyWarning
        If the model tells components apart.
    """
    whole = [e for e in exchangeable if e.num_labels == draws.num_labels and not e.is_partial]
    if whole:
        return
    found = "; ".join(map(str, exchangeable)) or "the model tells its components apart"
    warn(
        f"Expected {draws.num_labels} components that the model does not tell apart, so that it "
        f"does not matter how they are numbered; {found}. Draws whose labels are permuted are not "
        "draws of this model's posterior any more. Leave the labels as they are, and see whether "
        "they switch at all:\n\n    pma.detect_label_switching(idata)",
        AccuracyWarning,
    )


def _find(
    draws: LabelledDraws,
    method: str,
    *,
    by: str | None,
    data: str | None,
    pivot: tuple[int, int] | None,
    memberships: Callable[[], np.ndarray] | None,
) -> Relabelling:
    """Find permutations (S, K)."""
    labels = draws.labels() if method in _OF_LABELS else None
    if method in _OF_PROBABILITIES:
        if memberships is None:
            raise InvalidArgumentError(
                f"Expected a model, for {method!r} compares memberships of each draw; got none:"
                f"\n\n    pma.relabel(idata, {method!r}, model=model)"
            )
        if method == "stephens":
            return stephens(memberships())
        return ecr_iterative_2(labels, memberships())
    if method == "ordering":
        return ordering(draws.of(by))
    if method == "aic":
        return aic(draws.parameters())
    if method == "pra":
        return pra(draws.parameters(), draws.pivot(pivot))
    if method == "ecr":
        return ecr(labels, labels[draws.pivot(pivot)], draws.num_labels)
    if method == "ecr_iterative_1":
        return ecr_iterative_1(labels, draws.num_labels)
    return data_based(labels, _observed(draws, data, labels.shape[1]), draws.num_labels)


def _number(found: Relabelling, values: np.ndarray) -> Relabelling:
    """Order components as a whole, by the mean over draws of a variable (S, K)."""
    order = permute(values, found.permutations, 1).mean(axis=0).argsort()
    return replace(found, permutations=found.permutations[:, order])


def _observed(draws: LabelledDraws, name: str | None, num_units: int) -> np.ndarray:
    """Return the data (N, J) of units."""
    observed = draws.groups.get("observed_data", {})
    names = list(observed) if name is None else [name]
    if len(names) != 1 or names[0] not in observed:
        raise InvalidArgumentError(
            f"Expected one observed variable among {list(observed)}; got {name!r}. Name it:\n\n"
            '    pma.relabel(idata, "data_based", data="y")'
        )
    values = np.asarray(observed[names[0]], dtype=float)
    if values.size % num_units or not np.isfinite(values).all():
        raise InvalidArgumentError(
            f"Expected {names[0]!r} to hold finite values of {num_units} units; got shape "
            f"{values.shape}, with {int((~np.isfinite(values)).sum())} missing. Relabel by "
            'something else:\n\n    pma.relabel(idata, "ecr_iterative_1")'
        )
    return values.reshape(num_units, -1)


def _relabel_group(
    draws: LabelledDraws, found: Relabelling, method: str
) -> dict[str, xarray.Dataset]:
    """Return all groups in new labels."""
    permutations = found.permutations
    groups = {name: _permute(draws, group, permutations) for name, group in draws.groups.items()}
    attrs = {
        "relabelled_by": method,
        "relabelled_dims": ", ".join(draws.dims),
        "relabelling_criterion": found.criterion,
    }
    groups["posterior"] = groups["posterior"].assign_attrs(attrs)
    stats = groups.get("sample_stats", xarray.Dataset())
    if _PERMUTATION not in stats:
        array = xarray.DataArray(
            permutations.reshape(*draws.shape, -1), dims=(*SAMPLED, draws.dims[0])
        )
        coords = {d: draws.posterior[d] for d in array.dims if d in draws.posterior.coords}
        groups["sample_stats"] = stats.assign({_PERMUTATION: array.assign_coords(coords)})
    if "indicator_probabilities" in groups:
        groups["indicator_probabilities"] = _shares(draws, groups)
    return groups


def _permute(
    draws: LabelledDraws, group: xarray.Dataset, permutations: np.ndarray
) -> xarray.Dataset:
    """Return a group of draws in new labels; other groups, and warmup, as they are."""
    if any(group.sizes.get(d) != draws.posterior.sizes[d] for d in SAMPLED):
        return group
    changed = {}
    for name, array in group.data_vars.items():
        own = [dim for dim in array.dims if dim in draws.dims]
        if not all(dim in array.dims for dim in SAMPLED):
            continue
        moved = array.transpose(*SAMPLED, ...)
        values = moved.to_numpy().reshape(-1, *moved.shape[2:])
        if name in draws.indicators and array.dtype.kind in "iu":
            values = permute_labels(values, permutations)
        for dim in own:
            values = permute(values, permutations, moved.dims.index(dim) - 1)
        if own or name in draws.indicators:
            changed[name] = moved.copy(data=values.reshape(moved.shape)).transpose(*array.dims)
    return group.assign(changed)


def _shares(draws: LabelledDraws, groups: dict[str, xarray.Dataset]) -> xarray.Dataset:
    """Return shares of draws with each label, for the tables that follow from them."""
    before = groups["indicator_probabilities"]
    after, replaced = {}, set()
    for name in draws.indicators:
        own = (name, f"{name}_smoothing", "smoothing")
        others = (f"{name}_filtering", f"{name}_viterbi", "filtering", "viterbi")
        replaced |= {str(table) for table in before if table in (*own, *others)}
        table = next((n for n in own if n in before), None)
        if table is None:
            continue
        labels = sampled(groups)[name]
        last = before[table].dims[-1]
        shares = [(labels == k).mean(SAMPLED) for k in range(draws.num_labels)]
        array = xarray.concat(shares, dim=last).transpose(..., last)
        after[table] = array.assign_coords({last: before[table][last]}).rename(table)
    return before.drop_vars(replaced).assign(after)
