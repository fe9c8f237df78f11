"""Normal log densities in as few sweeps over their table as there can be."""

from typing import Any

import numpy as np
import torch

from torch import Tensor
from torch.autograd.function import once_differentiable

from pymc_amortized.graph.gradients import gradients_are_bare, mask_gradient

__all__ = ["less_half_square"]

_FEWEST_VALUES = 8
_LARGEST_LOSS = 1e-9  # in nats, of what is evaluated as a polynomial
_MANY_LOST = 0.5

_divide, _square = mask_gradient(torch.true_divide), mask_gradient(torch.square)


def less_half_square(x: Tensor, mu: Tensor, sigma: Tensor, offset: Tensor) -> Tensor:
    r"""Return :math:`o - (x - \mu)^2 / 2 \sigma^2`, as normal log densities are written.

    Parameters
    ----------
    x, mu, sigma, offset : Tensor, shape (B or 1, ...)
        Values, means, standard deviations, and o; in float64, with as many axes each.

    Returns
    -------
    Tensor, shape (B, ...)
        A tensor of its own.

    Notes
    -----
    Where values run along other axes than parameters, as units and components do, these are
    polynomials of the values: a table of them is one matrix product, and its gradient another.
    Draws whose standard deviations are so small that this would cost digits are evaluated as it is
    written.

    Examples
    --------
    >>> x, mu = torch.arange(9).double().view(1, 9, 1), torch.tensor([[[0.0, 2.0]]]).double()
    >>> one = torch.ones(1, 1, 1).double()
    >>> less_half_square(x, mu, one, one)[0, :3]
    tensor([[ 1.0000, -1.0000],
            [ 0.5000,  0.5000],
            [-1.0000,  1.0000]], dtype=torch.float64)
    """
    arguments = x, mu, sigma, offset
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in arguments)):
        return _evaluate(*arguments)[0]
    if gradients_are_bare():
        return _Fused.apply(*arguments)
    return offset - _square(_divide(x - mu, sigma)) / 2


class _Fused(torch.autograd.Function):
    """The gradient by three sums over the table, instead of by sweeps for each operation."""

    @staticmethod
    def forward(context: Any, *arguments: Tensor) -> Tensor:
        table, context.polynomial = _evaluate(*arguments)
        context.save_for_backward(*arguments)
        return table

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        arguments = context.saved_tensors
        x, mu, sigma, _ = arguments
        if context.polynomial is not None:
            found = None, *context.polynomial.gradients(gradient)
        else:
            z = _standardize(x, mu, sigma)
            of_mu = gradient * z
            of_sigma = z.mul_(of_mu).sum_to_size(sigma.shape) / sigma
            of_mu.div_(sigma)
            found = of_mu.neg(), of_mu, of_sigma, gradient
        return tuple(
            one.sum_to_size(given.shape) if needed else None
            for one, given, needed in zip(found, arguments, context.needs_input_grad, strict=True)
        )


def _evaluate(
    x: Tensor, mu: Tensor, sigma: Tensor, offset: Tensor
) -> tuple[Tensor, "_Polynomial | None"]:
    """Return the table, and the polynomial that gave it if one did."""
    if (polynomial := _Polynomial.of(x, mu, sigma, offset)) is not None:
        lost = polynomial.lost
        if not bool(lost.any()):
            return polynomial.table(), polynomial
        if float(lost.double().mean()) < _MANY_LOST:
            table, [index] = polynomial.table(), lost.nonzero(as_tuple=True)
            some = (t[index] if len(t) > 1 else t for t in (mu, sigma, offset))
            table[index] = _as_written(x, *some)
            return table, polynomial
    return _as_written(x, mu, sigma, offset), None


def _as_written(x: Tensor, mu: Tensor, sigma: Tensor, offset: Tensor) -> Tensor:
    table = _standardize(x, mu, sigma).square_().mul_(-0.5)
    return table.add_(offset) if _covers(table, offset) else table + offset


def _standardize(x: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    centred = x - mu
    return centred.div_(sigma) if _covers(centred, sigma) else centred / sigma


def _covers(x: Tensor, other: Tensor) -> bool:
    """Tell whether a tensor has the shape of itself together with another."""
    return np.broadcast_shapes(x.shape, other.shape) == x.shape


class _Polynomial:
    """Polynomials of values that are common to all draws.

    Parameters
    ----------
    x : Tensor, shape (1, *values)
        Values; of each axis but the first, either these have length 1 or parameters.
    mu, sigma, offset : Tensor, shape (B or 1, *parameters)
        What the coefficients are made of.

    Attributes
    ----------
    lost : Tensor of bool, shape (B,)
        Draws whose polynomial costs too many digits.
    """

    def __init__(self, x: Tensor, mu: Tensor, sigma: Tensor, offset: Tensor) -> None:
        self.shape = x.shape[1:]
        centre = (x.amin() + x.amax()) / 2
        centred = (x - centre).flatten()
        self.powers = torch.stack([torch.ones_like(centred), centred, centred.square()], 1)
        parameters = torch.broadcast_tensors(mu - centre, sigma, offset)
        # Draws come last, as they do in memory.
        self.mu, self.sigma, self.offset = (t.movedim(0, -1) for t in parameters)
        self.precision = self.sigma.square().reciprocal()
        self.linear = self.mu * self.precision
        self.constant = self.offset - self.mu * self.linear / 2
        rounding = self.powers.amax() * self.precision * torch.finfo(x.dtype).eps
        kept = (rounding < _LARGEST_LOSS) & torch.isfinite(self.constant)
        self.lost = ~kept.flatten(0, -2).all(0)

    @staticmethod
    def of(x: Tensor, mu: Tensor, sigma: Tensor, offset: Tensor) -> "_Polynomial | None":
        """Return the polynomials; None if there are none, or they are not worth it."""
        if x.requires_grad or len(x) > 1 or x.numel() < _FEWEST_VALUES:
            return None
        others = np.broadcast_shapes(mu.shape, sigma.shape, offset.shape)
        if any(min(lengths) > 1 for lengths in zip(x.shape[1:], others[1:], strict=True)):
            return None
        polynomial = _Polynomial(x, mu, sigma, offset)
        return polynomial if bool(torch.isfinite(polynomial.powers).all()) else None

    def table(self) -> Tensor:
        """Return what they are (B, ...)."""
        coefficients = torch.stack([self.constant, self.linear, self.precision / -2]).flatten(1)
        table = (self.powers @ coefficients).view(*self.shape, *self.mu.shape)
        num_axes = len(self.shape)
        pairs = [axis for i in range(num_axes) for axis in (i, num_axes + i)]
        whole = [max(pair) for pair in zip(self.shape, self.mu.shape[:-1], strict=True)]
        return table.permute(*pairs, -1).reshape(*whole, -1).movedim(-1, 0)

    def gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients (B, *parameters) over means, standard deviations, and offsets."""
        axes = range(len(self.shape))
        values = [i for i in axes if self.shape[i] > 1] + [i for i in axes if self.shape[i] == 1]
        rows = gradient.movedim(0, -1).permute(*values, -1).reshape(len(self.powers), -1)
        number, first, second = (self.powers.mT @ rows).view(3, *self.mu.shape)
        centred = first - self.mu * number
        of_sigma = second - self.mu * (first + centred)
        found = centred * self.precision, of_sigma * self.precision / self.sigma, number
        return tuple(x.movedim(-1, 0) for x in found)
