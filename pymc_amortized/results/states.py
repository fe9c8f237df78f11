"""What the data say of the states of Markov chains, by itself."""

from collections.abc import Sequence

import xarray

from pymc_amortized.inference.answer import Answer
from pymc_amortized.results.axes import dataset_of
from pymc_amortized.results.builder import ResultBuilder

__all__ = ["states_dataset"]


def states_dataset(
    builder: ResultBuilder, answer: Answer, kind: str, names: Sequence[str]
) -> xarray.Dataset:
    """Return smoothing, filtering, joint paths or the most probable path of chains.

    Parameters
    ----------
    builder : ResultBuilder
        Of one data set, with its answer.
    answer : Answer
        The same answer.
    kind : {"smoothing", "filtering", "paths", "viterbi"}
        What of them.
    names : sequence of str
        Of the chains.
    """
    return dataset_of(_states(builder, answer, kind, name) for name in names)


def _states(builder: ResultBuilder, answer: Answer, kind: str, name: str) -> xarray.DataArray:
    drawn, axes = answer.indicators[name], builder.axes
    dims = next(i.dims for i in builder.spec.named_indicators if i.name == name)
    if kind == "paths":
        return axes.array(name, builder.in_chains(drawn.values), dims, builder.leading)
    if kind == "viterbi":
        return axes.array(name, drawn.viterbi.cpu().numpy(), dims)
    table = drawn.probabilities if kind == "smoothing" else drawn.filtering
    return axes.probabilities(name, table.cpu().numpy())
