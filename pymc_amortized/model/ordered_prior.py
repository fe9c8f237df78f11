"""Unconstrained coordinates of parameters whose components are in ascending order."""

import itertools

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytensor.tensor as pt
import torch

from pymc.logprob.transforms import ChainedTransform, Transform
from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.model.complete_model import CompleteModel
from pymc_amortized.model.restricted_prior import RestrictedPrior

__all__ = ["LabelGap", "LabelOrder", "OrderedPrior", "with_label_gaps", "with_label_order"]


class LabelOrder(Transform):
    """The map from components in ascending order to all of space: gaps by their logarithms.

    PyMC's ``ordered`` orders the last axis as a whole. Here one column along any axis is ordered,
    or blocks of it, and all other elements stay as they are.

    Parameters
    ----------
    column : tuple of int or None
        An index of the values by which components are ordered: None at the axis of components.
    blocks : sequence of tuple of int
        Components that are ordered among themselves.
    descending : bool
        Whether these values descend: after a transform that reverses the order of a parameter.
    """

    name = "label_order"
    fingerprint_name = "pymc_amortized.compile.label_order.LabelOrder"
    ndim_supp = 0

    def __init__(
        self, column: tuple[int | None, ...], blocks: Sequence[tuple[int, ...]], *, descending: bool
    ) -> None:
        self.column = tuple(column)
        self.blocks = tuple(blocks)
        self.descending = descending

    def forward(self, value: Variable, *_: Any) -> Variable:
        """Replace all values of a block but the first by the logarithms of their gaps."""
        return self._change_blocks(
            value, lambda keys: pt.concatenate([keys[:1], pt.log(self._sign * pt.diff(keys))])
        )

    def backward(self, value: Variable, *_: Any) -> Variable:
        """Add gaps up."""
        return self._change_blocks(
            value,
            lambda keys: pt.concatenate(
                [keys[:1], keys[0] + self._sign * pt.cumsum(pt.exp(keys[1:]))]
            ),
        )

    def log_jac_det(self, value: Variable, *_: Any) -> Variable:
        """Return the logarithms of gaps where they stand, and 0 elsewhere.

        Of the shape of ``value``, for a chain of transforms adds up the axes that others lack.
        """
        column = value[self._place]
        gaps = pt.zeros_like(column)
        for block in self.blocks:
            rest = _index(block[1:])
            gaps = pt.set_subtensor(gaps[rest], column[rest])
        return pt.set_subtensor(pt.zeros_like(value)[self._place], gaps)

    @property
    def _sign(self) -> float:
        return -1.0 if self.descending else 1.0

    @property
    def _place(self) -> tuple[int | slice, ...]:
        return tuple(slice(None) if i is None else i for i in self.column)

    def _change_blocks(self, value: Variable, change: Callable[[Variable], Variable]) -> Variable:
        """Return the value with the keys of each block changed."""
        column = value[self._place]
        for block in self.blocks:
            members = _index(block)
            column = pt.set_subtensor(column[members], change(column[members]))
        return pt.set_subtensor(value[self._place], column)


class LabelGap(Transform):
    """The map of one component's parameter, above that of the component before it, to all of space.

    Parameters
    ----------
    before : Variable
        The unconstrained value of the component before, a graph of the model's variables.
    column : tuple of int
        An index of the value by which components are ordered.
    descending : bool
        Whether these values descend.
    """

    name = "label_gap"
    ndim_supp = 0

    def __init__(self, before: Variable, column: tuple[int, ...], *, descending: bool) -> None:
        self.before = before
        self.column = tuple(column)
        self.descending = descending

    def forward(self, value: Variable, *_: Any) -> Variable:
        """Replace the value in order by the logarithm of its gap."""
        return self._replace(value, pt.log(self._sign * (self._key(value) - self._before)))

    def backward(self, value: Variable, *_: Any) -> Variable:
        """Add the gap."""
        return self._replace(value, self._before + self._sign * pt.exp(self._key(value)))

    def log_jac_det(self, value: Variable, *_: Any) -> Variable:
        """Return the logarithm of the gap where it stands, and 0 elsewhere."""
        return self._replace(pt.zeros_like(value), self._key(value))

    @property
    def _sign(self) -> float:
        return -1.0 if self.descending else 1.0

    @property
    def _before(self) -> Variable:
        return self._key(self.before)

    def _key(self, value: Variable) -> Variable:
        return value[self.column] if self.column else value

    def _replace(self, value: Variable, key: Variable) -> Variable:
        return pt.set_subtensor(value[self.column], key) if self.column else key


def _index(labels: Sequence[int]) -> slice | list[int]:
    """Return an index of labels: a slice, where they follow each other."""
    first, last = labels[0], labels[-1]
    consecutive = list(range(first, last + 1)) == list(labels)
    return slice(first, last + 1) if consecutive else list(labels)


class OrderedPrior:
    """The prior of a model whose components are exchangeable, restricted to one order of them.

    Draws are permuted, not rejected: components that are exchangeable have every order with the
    same probability, whatever the other parameters are.

    Parameters
    ----------
    prior : RestrictedPrior
        Of the model as it is.
    ordered : CompleteModel
        The model with its order.
    arrange : callable
        Permutes draws of all parameters (B, *shape) into that order.
    log_count : float
        Logarithm of the number of orders.
    """

    def __init__(
        self,
        prior: RestrictedPrior,
        ordered: CompleteModel,
        arrange: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        log_count: float,
    ) -> None:
        self.bijections = prior.bijections_of(ordered.parameters)
        self._prior, self._arrange, self._log_count = prior, arrange, log_count

    def sample(
        self, num_datasets: int, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Draw parameters (B, *shape), in order; see :meth:`RestrictedPrior.sample`."""
        return self._arrange(self._prior.sample(num_datasets, device, generator))

    def log_mass(self, device: torch.device, generator: torch.Generator) -> tuple[float, float]:
        """Return the log probability of the region, with its error, in nats."""
        log_mass, error = self._prior.log_mass(device, generator)
        return log_mass - self._log_count, error


def with_label_order(complete: CompleteModel, name: str, order: LabelOrder) -> CompleteModel:
    """Return a model of which one parameter is in order, after its own transform."""
    return _chained(complete, name, order)


def with_label_gaps(
    complete: CompleteModel, names: Sequence[str], column: tuple[int, ...], *, descending: bool
) -> CompleteModel:
    """Return a model of which several parameters are in order, in that of their names.

    Parameters
    ----------
    complete : CompleteModel
        The model; it has the parameters in the same order.
    names : sequence of str
        Of the parameters, of one shape.
    column, descending
        As in :class:`LabelGap`.
    """
    known = {parameter.name: parameter for parameter in complete.parameters}
    for previous, name in itertools.pairwise(names):
        variable, transform = known[previous].variable, known[previous].transform
        inputs = variable.owner.inputs
        before = variable if transform is None else transform.forward(variable, *inputs)
        complete = _chained(complete, name, LabelGap(before, column, descending=descending))
    return complete


def _chained(complete: CompleteModel, name: str, order: Transform) -> CompleteModel:
    """Return a model of which one parameter has another transform after its own."""

    def ordered(transform: Transform | None) -> Transform:
        return order if transform is None else ChainedTransform([transform, order])

    return replace(
        complete,
        parameters=tuple(
            replace(p, transform=ordered(p.transform)) if p.name == name else p
            for p in complete.parameters
        ),
    )
