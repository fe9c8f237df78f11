"""One order for components that are exchangeable: by which parameter, and how to get there."""

import itertools
import math

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.model.ordered_prior import LabelOrder
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.symmetry.exchangeable import Exchangeable
from pymc_amortized.typing import NamedTensors

__all__ = ["CanonicalOrder", "Labelling", "permuted", "possible_orders"]

_MAX_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class CanonicalOrder:
    """By which values exchangeable components are put in ascending order.

    Attributes
    ----------
    exchangeable : Exchangeable
        The components, and all that is permuted with them.
    name : str
        Of a parameter.
    column : tuple of int or None
        An index of one unconstrained value per component: None at the axis of components.
    descending : bool
        Whether unconstrained values descend where the parameter ascends.
    monotonic : bool
        Whether the parameter itself is in order, or its unconstrained value alone.
    """

    exchangeable: Exchangeable
    name: str
    column: tuple[int | None, ...]
    descending: bool = False
    monotonic: bool = True

    def __str__(self) -> str:
        index = ""
        if len(self.column) > 1:
            index = f"[{', '.join(':' if i is None else str(i) for i in self.column)}]"
        return f"{self.name}{index}" + ("" if self.monotonic else " (unconstrained)")

    @property
    def transform(self) -> LabelOrder:
        """PyMC's transform of parameters that are in this order."""
        return LabelOrder(self.column, self.exchangeable.blocks, descending=self.descending)

    @property
    def log_count(self) -> float:
        """Logarithm of the number of orders."""
        return sum(math.lgamma(len(block) + 1) for block in self.exchangeable.blocks)

    def values(self, unconstrained: NamedTensors) -> Tensor:
        """Return the values (S, K) that ascend."""
        at = tuple(slice(None) if i is None else i for i in self.column)
        values = unconstrained[self.name][(slice(None), *at)]
        return -values if self.descending else values

    def permutations(self, unconstrained: NamedTensors) -> Tensor:
        """Return which component (S, K) goes to each place, so that values ascend."""
        values = self.values(unconstrained)
        return self._permute_blocks(len(values), values.device, lambda b: values[:, b].argsort(1))

    def random_permutations(self, num_draws: int, generator: torch.Generator) -> Tensor:
        """Return permutations (S, K), all with the same probability."""
        device = generator.device

        def shuffled(block: list[int]) -> Tensor:
            shape = (num_draws, len(block))
            return torch.rand(shape, generator=generator, device=device).argsort(dim=1)

        return self._permute_blocks(num_draws, device, shuffled)

    def _permute_blocks(self, num_draws: int, device: torch.device, order: Any) -> Tensor:
        permutations = torch.arange(self.exchangeable.num_labels, device=device)
        permutations = permutations.expand(num_draws, -1).clone()
        for block in self.exchangeable.blocks:
            members = torch.as_tensor(block, device=device)
            permutations[:, members] = members[order(list(block))]
        return permutations

    def as_record(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "CanonicalOrder":
        """Undo :meth:`as_record`."""
        found = record["exchangeable"]
        return CanonicalOrder(
            **{
                **record,
                "column": tuple(record["column"]),
                "exchangeable": Exchangeable(
                    axes=tuple((name, int(axis)) for name, axis in found["axes"]),
                    num_labels=int(found["num_labels"]),
                    blocks=tuple(tuple(block) for block in found["blocks"]),
                    indicators=tuple(found["indicators"]),
                ),
            }
        )


@dataclass(frozen=True, slots=True)
class Labelling:
    """The labelling in which a model is answered, where it could be any.

    Attributes
    ----------
    orders : tuple of CanonicalOrder
        One for each set of exchangeable components.
    space : ParameterSpace
        Of the model as it is, without an order.
    """

    orders: tuple[CanonicalOrder, ...]
    space: ParameterSpace

    @property
    def log_count(self) -> float:
        """Logarithm of the number of labellings."""
        return sum(order.log_count for order in self.orders)

    def arrange(self, parameters: NamedTensors) -> dict[str, Tensor]:
        """Permute parameters (S, *shape), all that belongs to a component, into canonical order."""
        arranged = dict(parameters)
        for order in self.orders:
            found = order.permutations(self.space.split(self.space.unconstrain(arranged)))
            arranged = permuted(arranged, order.exchangeable, found)
        return arranged

    def log_jacobian(self, parameters: NamedTensors) -> Tensor:
        """Return log |du/dv| (S,) for parameters in order, in nats.

        Of the model's unconstrained coordinates u with respect to those in order, v.
        """
        if not self.orders:
            return torch.zeros(())
        unconstrained = self.space.split(self.space.unconstrain(parameters))
        total = 0.0
        for order in self.orders:
            values = order.values(unconstrained)
            for block in order.exchangeable.blocks:
                total = total + values[:, list(block)].diff(dim=1).log().sum(1)
        return total

    def __str__(self) -> str:
        return ", ".join(map(str, self.orders))


def permuted(
    parameters: NamedTensors, exchangeable: Exchangeable, permutations: Tensor
) -> dict[str, Tensor]:
    """Permute components of parameters (S, *shape) by permutations (S, K)."""
    result = dict(parameters)
    for name, axis in exchangeable.axes:
        x = result[name]
        shape = [1] * x.ndim
        shape[0], shape[axis + 1] = permutations.shape
        index = permutations.to(x.device).reshape(shape).expand(x.shape)
        result[name] = x.gather(axis + 1, index)
    return result


def possible_orders(
    exchangeable: Exchangeable, space: ParameterSpace, parameters: NamedTensors
) -> list[CanonicalOrder]:
    """Return all values by which components can be ordered.

    Those whose unconstrained coordinates are permuted with the components: found by permuting draws
    of the prior, which must be of finite coordinates. The weights of a mixture are not among them,
    whose last coordinate is missing.

    Parameters
    ----------
    exchangeable : Exchangeable
        The components.
    space : ParameterSpace
        Of the model as it is.
    parameters : mapping of str to Tensor, shape (S, *shape)
        Draws of the prior.
    """
    before = space.split(space.unconstrain(parameters))
    order = torch.arange(exchangeable.num_labels)
    for block in exchangeable.blocks:
        order[list(block)] = order[list(block)].roll(1)
    [num_draws] = {len(x) for x in parameters.values()}
    moved = permuted(parameters, exchangeable, order.expand(num_draws, -1))
    after = space.split(space.unconstrain(moved))
    names = [name for name, _ in exchangeable.axes]
    found = []
    for name, axis in exchangeable.axes:
        x, y = before[name], after[name]
        has_axis = axis + 1 < x.ndim and x.shape[axis + 1] == exchangeable.num_labels
        if names.count(name) > 1 or not has_axis:
            continue
        follows = torch.isclose(y, x.index_select(axis + 1, order.to(x.device)), atol=1e-10)
        if bool((follows | ~torch.isfinite(y)).all()):
            found += _columns(exchangeable, name, axis, parameters[name], x)
    return found


def _columns(
    exchangeable: Exchangeable, name: str, axis: int, constrained: Tensor, x: Tensor
) -> list[CanonicalOrder]:
    """Return an order for each column of unconstrained values (S, *unconstrained shape)."""
    places = [range(n) if a != axis else [None] for a, n in enumerate(x.shape[1:])]
    columns = itertools.islice(itertools.product(*places), _MAX_COLUMNS)
    finite = torch.isfinite(x).flatten(1).all(1)
    orders = []
    for column in columns:
        descending, monotonic = False, False
        if x.shape == constrained.shape:
            one = CanonicalOrder(exchangeable, name, column)
            rises, grows = (
                one.values({name: values[finite]}).diff(dim=1) > 0 for values in (x, constrained)
            )
            descending = bool((rises != grows).all())
            monotonic = descending or bool((rises == grows).all())
        orders.append(CanonicalOrder(exchangeable, name, column, descending, monotonic))
    return orders
