"""Moves across the borders of a canonical order, where one label stands for two components."""

import functools
import itertools

import torch

from torch import Tensor

from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, Labelling
from pymc_amortized.typing import NamedTensors

__all__ = ["LabelSwaps"]

_DRAWS_TO_TEST = 8


class LabelSwaps:
    r"""Exchanges two neighbouring components, all but the values that they are ordered by.

    The order of labels by one value cuts through a mode wherever two components may have the same
    value, and leaves pieces that no short path within the order joins. At the border the exchange
    changes nothing: a component goes on under the label of its neighbour, as it would without an
    order. It is its own inverse, and moves coordinates without stretching any,

    .. math:: \frac{p(\theta')}{p(\theta)}
        = \frac{p_s(s')\, |ds'/dv'|}{p_s(s)\, |ds/dv|},

    for unconstrained coordinates v and their scores s.

    Parameters
    ----------
    labelling : Labelling
        The order of a model's components.
    space : ParameterSpace
        Of parameters in that order, with their scores.
    """

    def __init__(self, labelling: Labelling, space: ParameterSpace) -> None:
        self.labelling, self.space = labelling, space

    @functools.cached_property
    def is_possible(self) -> bool:
        """Whether there is an order, and exchanges stretch no coordinates of the model."""
        return bool(self.labelling.orders) and all(
            self._is_linear(order) for order in self.labelling.orders
        )

    def propose(self, scores: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return scores (N, B, D) after an exchange, and the log of what their densities lack.

        That is log |ds'/dv'| - log |ds/dv|, (N, B), for the ratio of densities of scores.
        """
        shape = scores.shape[:2]
        vector, log_stretch = self.space.unstandardize(scores.flatten(0, 1))
        parameters = self.space.constrain(vector)
        for order in self.labelling.orders:
            parameters = self._exchange(order, parameters, generator)
        proposed, log_shrink = self.space.standardize(self.space.unconstrain(parameters))
        return proposed.unflatten(0, shape), (log_stretch + log_shrink).unflatten(0, shape)

    def _exchange(
        self, order: CanonicalOrder, parameters: NamedTensors, generator: torch.Generator | None
    ) -> NamedTensors:
        """Exchange neighbours of parameters (S, *shape), and give their values back."""
        num_draws = len(next(iter(parameters.values())))
        options = {"generator": generator, "device": next(iter(parameters.values())).device}
        pairs = [pair for b in order.blocks for pair in itertools.pairwise(b)]
        pairs = torch.tensor(pairs, device=options["device"])
        pair = pairs[torch.randint(len(pairs), (num_draws,), **options)]
        places = torch.arange(order.exchangeable.num_labels, device=pair.device)
        places = places.expand(num_draws, -1).scatter(1, pair, pair.flip(1))
        model = self.labelling.space
        before = model.split(model.unconstrain(parameters))
        moved = order.exchangeable.parts.permuted(parameters, places)
        after = model.split(model.unconstrain(moved))
        return model.constrain(model.join(order.with_values_of(after, before)))

    def _is_linear(self, order: CanonicalOrder) -> bool:
        """Whether exchanging components is linear in unconstrained coordinates.

        It is its own inverse, and so of a determinant of 1 or -1.
        """
        model = self.labelling.space
        generator = torch.Generator().manual_seed(0)
        shape = (2, _DRAWS_TO_TEST, model.size)
        one, other = torch.randn(shape, generator=generator).double()
        first, last = order.exchangeable.blocks[0][0], order.exchangeable.blocks[0][-1]
        places = torch.arange(order.exchangeable.num_labels)
        places[[first, last]] = places[[last, first]]

        def exchanged(v: Tensor) -> Tensor:
            parts = order.exchangeable.parts
            return model.unconstrain(parts.permuted(model.constrain(v), places.expand(len(v), -1)))

        return torch.allclose(exchanged(one + other), exchanged(one) + exchanged(other))
