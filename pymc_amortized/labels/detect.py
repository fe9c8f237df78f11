"""Whether the labels of a posterior switch, between chains or within them."""

import html

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import arviz
import numpy as np

from pymc_amortized.labels.algorithms import nearest_to_mean, permute
from pymc_amortized.labels.labelled_draws import LabelledDraws, of_components
from pymc_amortized.labels.single_components import SingleComponents
from pymc_amortized.results.reading import groups_with_posterior
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.symmetry.exchangeable import Exchangeable
from pymc_amortized.typing import NamedTensors

if TYPE_CHECKING:
    import pandas
    import pymc

__all__ = ["LabelSwitching", "detect_label_switching", "switching_of_draws"]

_SMALL_SHARE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class LabelSwitching:
    """Whether labels mean the same components in all draws. Print it.

    Attributes
    ----------
    component_dim : str
        The dim that counts components, or the names of all that belongs to them.
    usual : tuple of tuple of int
        For each chain, its most frequent labelling: for each label of the first chain's, which one
        of its own it is.
    changed : tuple of float
        For each chain, the share of draws in another labelling than the chain's most frequent one.
    rhat : dict of str to (float, float)
        For each variable of components, the largest R-hat as it is, and after relabelling; NaN for
        a single chain.
    """

    component_dim: str
    usual: tuple[tuple[int, ...], ...]
    changed: tuple[float, ...]
    rhat: dict[str, tuple[float, float]]

    @property
    def between(self) -> bool:
        """Whether chains have different labellings."""
        return len(set(self.usual)) > 1

    @property
    def within(self) -> bool:
        """Whether more than 1 in 100 draws of some chain are labelled otherwise than the rest."""
        return max(self.changed) > _SMALL_SHARE

    @property
    def found(self) -> bool:
        """Whether labels switch at all."""
        return self.between or self.within

    def table(self) -> "pandas.DataFrame":
        """Return a row for each chain."""
        import pandas

        return pandas.DataFrame(
            {"usual labelling": self.usual, "share of draws in others": self.changed}
        ).rename_axis("chain")

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        first, *others = self._lines()
        items = "".join(f"<li>{html.escape(line.strip())}</li>" for line in others)
        return f"<p><b>{html.escape(first)}</b></p><ul>{items}</ul>"

    def _lines(self) -> Iterator[str]:
        where = [w for w, there in (("between", self.between), ("within", self.within)) if there]
        said = f"switch {' and '.join(where)} chains" if where else "do not switch"
        yield f"Labels of {self.component_dim!r} {said}"
        for chain, (usual, share) in enumerate(zip(self.usual, self.changed, strict=True)):
            yield f"  chain {chain}: labelling {usual}; {share:.1%} of its draws in others"
        for name, (before, after) in self.rhat.items():
            if not np.isnan(before):
                yield f"  {name}: R-hat {before:.2f}; after relabelling {after:.2f}"
        if self.found:
            yield (
                "  what to do: pma.relabel(idata), before anything is said of single components; "
                "or write an order into the model, transform=ordered"
            )


def detect_label_switching(
    idata: Any,
    component_dim: str | Sequence[str] | None = None,
    *,
    model: "pymc.Model | None" = None,
) -> LabelSwitching:
    """Tell whether labels of components mean the same in all draws, between and within chains.

    Draws are compared with the mean of all draws, relabelled: for each, the permutation is found
    that brings its parameters nearest. Where components overlap, a draw may be nearer in another
    labelling by chance; R-hat before and after says whether that matters.

    Parameters
    ----------
    idata : InferenceData or DataTree
        With a group ``posterior``, from any sampler.
    component_dim : str or sequence of str
        As in :func:`pymc_amortized.relabel`.
    model : pymc.Model, optional
        That the draws are from: it knows which dims belong together.

    Returns
    -------
    LabelSwitching
        With ``found``, ``between``, ``within`` and ``table()``.

    Raises
    ------
    InvalidArgumentError
        If a dim is not there, leaves out others, or no variable of numbers has it.
    InvalidDataError
        If this is not a posterior.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_amortized as pma
    >>> import xarray
    >>> values = np.array([-2.0, 2.0]) + np.random.default_rng(0).normal(0, 0.1, (2, 50, 2))
    >>> values[1] = values[1, :, ::-1]
    >>> mu = xarray.DataArray(values, dims=("chain", "draw", "component"))
    >>> idata = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"mu": mu})})
    >>> found = pma.detect_label_switching(idata)
    >>> found.between, found.within
    (True, False)
    """
    simulator = None if model is None else compile_simulator(model)
    groups = SingleComponents.of_model(simulator).fold(groups_with_posterior(idata))
    draws = LabelledDraws.read(groups, component_dim, [], simulator)
    draws.parameters()  # refuses results without any
    return _switching(", ".join(draws.dims), dict(draws.columns_by_name()), draws.shape[0])


def switching_of_draws(
    exchangeable: Sequence[Exchangeable], parameters: NamedTensors, num_chains: int
) -> Iterator[LabelSwitching]:
    """Yield what switches in draws of a model's parameters, where its components can be exchanged.

    Parameters
    ----------
    exchangeable : sequence of Exchangeable
        Components of the model.
    parameters : mapping of str to Tensor, shape (S, *shape)
        Draws, chain after chain.
    num_chains : int
        Of how many chains.
    """
    for found in exchangeable:
        columns = dict(_columns(found, {n: parameters[n].cpu().numpy() for n in found.names}))
        what = ", ".join((*found.names, *found.indicators))
        for block in found.blocks:
            of_block = {name: x[:, list(block)] for name, x in columns.items()}
            switching = _switching(what, of_block, num_chains)
            if switching.found:
                yield switching


def _columns(
    found: Exchangeable, draws: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield all that belongs to components, as (S, K, J)."""
    parts = found.parts
    for name in dict.fromkeys(name for name, _ in parts.axes):
        yield name, of_components(draws[name], [a + 1 for n, a in parts.axes if n == name])
    for name, total in parts.mirrored:
        both = np.stack([draws[name], total - draws[name]], axis=1)
        yield name, both.reshape(len(both), 2, -1)
    for members in parts.variables:
        names = [name for name in members if name is not None]
        missing = np.zeros_like(draws[names[0]])
        each = [missing if name is None else draws[name] for name in members]
        stacked = np.stack(each, axis=1)
        yield ", ".join(names), stacked.reshape(*stacked.shape[:2], -1)


def _switching(what: str, columns: Mapping[str, np.ndarray], num_chains: int) -> LabelSwitching:
    """Compare draws (S, K, J) with their mean in one labelling."""
    permutations = nearest_to_mean(np.concatenate(list(columns.values()), axis=-1)).permutations
    chains = permutations.reshape(num_chains, -1, permutations.shape[1])
    usual = [_most_frequent(chain) for chain in chains]
    first = usual[0].argsort()
    return LabelSwitching(
        component_dim=what,
        usual=tuple(tuple(int(k) for k in labelling[first]) for labelling in usual),
        changed=tuple(
            float((chain != labelling).any(axis=1).mean())
            for chain, labelling in zip(chains, usual, strict=True)
        ),
        rhat={
            name: tuple(
                _largest_rhat(values.reshape(num_chains, -1, x[0].size))
                for values in (x, permute(x, permutations, 1))
            )
            for name, x in columns.items()
        },
    )


def _most_frequent(permutations: np.ndarray) -> np.ndarray:
    values, counts = np.unique(permutations, axis=0, return_counts=True)
    return values[counts.argmax()]


def _largest_rhat(values: np.ndarray) -> float:
    if len(values) < 2 or values.shape[1] < 4:
        return float("nan")
    each = [float(arviz.rhat(np.ascontiguousarray(values[..., j]))) for j in range(values.shape[2])]
    known = [value for value in each if not np.isnan(value)]
    return max(known, default=float("nan"))
