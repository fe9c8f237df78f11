"""One order for components that are exchangeable: by which parameter, and how to get there."""

import itertools
import math

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.model.complete_model import CompleteModel
from pymc_amortized.model.ordered_prior import LabelOrder, with_label_gaps, with_label_order
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.symmetry.component_parts import Members
from pymc_amortized.symmetry.exchangeable import Exchangeable
from pymc_amortized.typing import NamedTensors

__all__ = ["CanonicalOrder", "Labelling", "permute_codes", "possible_orders"]

_MAX_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class CanonicalOrder:
    """By which values exchangeable components are put in ascending order.

    Attributes
    ----------
    exchangeable : Exchangeable
        The components, and all that is permuted with them.
    name : str
        Of a parameter with an axis of components, or of the first of those of single components.
    column : tuple of int or None
        An index of one unconstrained value per component: None at the axis of components, if any.
    descending : bool
        Whether unconstrained values descend where the parameter ascends.
    monotonic : bool
        Whether the parameter itself is in order, or its unconstrained value alone.
    members : tuple of str or None
        For each label, the parameter that is its own; empty where one has an axis of components.
    blocks : tuple of tuple of int
        Labels that are ordered among themselves, in ascending order: of parameters of single
        components, the order in which the model has them.
    """

    exchangeable: Exchangeable
    name: str
    column: tuple[int | None, ...]
    descending: bool = False
    monotonic: bool = True
    members: Members = ()
    blocks: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            object.__setattr__(self, "blocks", self.exchangeable.blocks)

    def __str__(self) -> str:
        index = ""
        if len(self.column) > (not self.members):
            index = f"[{', '.join(':' if i is None else str(i) for i in self.column)}]"
        said = ", ".join(f"{name}{index}" for name in self.names)
        return said + ("" if self.monotonic else " (unconstrained)")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters that are in order, in that order."""
        if not self.members:
            return (self.name,)
        return tuple(self.members[label] for block in self.blocks for label in block)

    @property
    def log_count(self) -> float:
        """Logarithm of the number of orders."""
        return sum(math.lgamma(len(block) + 1) for block in self.blocks)

    def restrict(self, complete: CompleteModel) -> CompleteModel:
        """Return a model whose parameters are in this order."""
        if not self.members:
            order = LabelOrder(self.column, self.blocks, descending=self.descending)
            return with_label_order(complete, self.name, order)
        for block in self.blocks:
            names = [self.members[label] for label in block]
            complete = with_label_gaps(complete, names, self.column, descending=self.descending)
        return complete

    def values(self, unconstrained: NamedTensors) -> Tensor:
        """Return the values (S, K) that ascend; NaN for labels without a parameter."""
        at = (slice(None), *(slice(None) if i is None else i for i in self.column))
        if not self.members:
            values = unconstrained[self.name][at]
        else:
            own = [None if name is None else unconstrained[name][at] for name in self.members]
            missing = torch.full_like(unconstrained[self.name][at], math.nan)
            values = torch.stack([missing if x is None else x for x in own], dim=1)
        return -values if self.descending else values

    def with_values_of(
        self, unconstrained: NamedTensors, others: NamedTensors
    ) -> dict[str, Tensor]:
        """Return unconstrained parameters with the values that are in order from others."""
        at = (slice(None), *(slice(None) if i is None else i for i in self.column))
        result = dict(unconstrained)
        for name in self.names:
            result[name] = result[name].clone()
            result[name][at] = others[name][at]
        return result

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
        for block in self.blocks:
            members = torch.as_tensor(block, device=device)
            permutations[:, members] = members[order(list(block))]
        return permutations

    def as_record(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "CanonicalOrder":
        """Undo :meth:`as_record`."""
        return CanonicalOrder(
            **{
                **record,
                "column": tuple(record["column"]),
                "exchangeable": Exchangeable.from_record(record["exchangeable"]),
                "members": tuple(record.get("members", ())),
                "blocks": tuple(tuple(block) for block in record.get("blocks", ())),
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
        return self.arrange_all(parameters, {}, {})[0]

    def arrange_all(
        self, parameters: NamedTensors, indicators: NamedTensors, lowest: Mapping[str, int]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Permute parameters (S, *shape) into canonical order, and indicators (S, *units) alike.

        Values of indicators count up from those in ``lowest``.
        """
        arranged, moved = dict(parameters), dict(indicators)
        for order in self.orders:
            found = order.permutations(self.space.split(self.space.unconstrain(arranged)))
            arranged = order.exchangeable.parts.permuted(arranged, found)
            for name in set(order.exchangeable.indicators) & set(moved):
                codes = moved[name] - lowest[name]
                moved[name] = permute_codes(codes, found) + lowest[name]
        return arranged, moved

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
            for block in order.blocks:
                total = total + values[:, list(block)].diff(dim=1).log().sum(1)
        return total

    def __str__(self) -> str:
        return ", ".join(map(str, self.orders))


def permute_codes(codes: Tensor, permutations: Tensor) -> Tensor:
    """Return labels (S, *units) where component ``permutations[s, j]`` of draw s is at place j."""
    places = permutations.argsort(dim=1).to(codes.device)
    return places.gather(1, codes.long().flatten(1)).reshape(codes.shape)


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
    moved = exchangeable.parts.permuted(parameters, order.expand(num_draws, -1))
    after = space.split(space.unconstrain(moved))
    found = []
    for name, axis, members in _by_which(exchangeable, space):
        labels = [k for k in range(exchangeable.num_labels) if not members or members[k]]
        x, y, constrained = (
            torch.stack([p[members[k]] for k in labels], dim=1) if members else p[name]
            for p in (before, after, parameters)
        )
        if axis + 1 >= x.ndim or x.shape[axis + 1] != len(labels):
            continue
        places = torch.tensor([labels.index(k) for k in order.tolist() if k in labels])
        follows = torch.isclose(y, x.index_select(axis + 1, places.to(x.device)), atol=1e-10)
        if bool((follows | ~torch.isfinite(y)).all()):
            blocks = _in_order_of_model(exchangeable, members, space)
            first = members[blocks[0][0]] if members else name
            one = CanonicalOrder(exchangeable, first, (), members=members, blocks=blocks)
            found += _columns(one, axis, constrained, x)
    return found


def _by_which(
    exchangeable: Exchangeable, space: ParameterSpace
) -> Iterator[tuple[str, int, Members]]:
    """Yield parameters with an axis of components, or those of single components side by side."""
    parts = exchangeable.parts
    axes, orders = [name for name, _ in parts.axes], []
    of_blocks = {label for block in exchangeable.blocks for label in block}
    for name, axis in parts.axes:
        if axes.count(name) == 1 and not any(name in members for members in parts.variables):
            orders.append((name, axis, ()))
    for members in parts.variables:
        own = [members[label] for label in of_blocks]
        if None not in own and not set(own) & set(axes):
            orders.append((min(own, key=space.names.index), 0, members))
    yield from sorted(orders, key=lambda order: space.names.index(order[0]))


def _in_order_of_model(
    exchangeable: Exchangeable, members: Members, space: ParameterSpace
) -> tuple[tuple[int, ...], ...]:
    """Return blocks of labels, of single parameters in the order in which the model has them."""
    if not members:
        return exchangeable.blocks
    return tuple(
        tuple(sorted(block, key=lambda label: space.names.index(members[label])))
        for block in exchangeable.blocks
    )


def _columns(
    order: CanonicalOrder, axis: int, constrained: Tensor, x: Tensor
) -> Iterator[CanonicalOrder]:
    """Yield an order for each column of unconstrained values (S, *unconstrained shape)."""
    places = [range(n) if a != axis else [None] for a, n in enumerate(x.shape[1:])]
    finite = torch.isfinite(x).flatten(1).all(1)
    for column in itertools.islice(itertools.product(*places), _MAX_COLUMNS):
        descending, monotonic = False, False
        if x.shape == constrained.shape:
            at = (finite, *(slice(None) if i is None else i for i in column))
            rises, grows = (values[at].diff(dim=1) > 0 for values in (x, constrained))
            descending = bool((rises != grows).all())
            monotonic = descending or bool((rises == grows).all())
        index = column[1:] if order.members else column
        yield replace(order, column=index, descending=descending, monotonic=monotonic)
