"""Tensors that repeat themselves along some axes, and are computed with once."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["once", "repeated", "shrink"]

_ONCE = "_pymc_amortized_once"


def repeated(small: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor expanded to a shape, of which :func:`once` is the tensor itself.

    ``theta[z]`` with one component for every unit repeats itself along the units. All that is
    computed of it alone does so too, so that a logarithm is taken once, not for each unit.

    Parameters
    ----------
    small : Tensor
        With axes of length 1 where it is to be repeated.
    shape : sequence of int
        The lengths of all axes.

    Examples
    --------
    >>> import torch
    >>> whole = repeated(torch.tensor([[2.0]]), (1, 1000))
    >>> whole.shape, once(whole).shape, once(whole + 1).shape
    (torch.Size([1, 1000]), torch.Size([1, 1]), torch.Size([1, 1000]))
    """
    if tuple(small.shape) == tuple(shape):
        return small
    whole = small.expand(*shape)
    setattr(whole, _ONCE, small)
    return whole


def once(x: Tensor) -> Tensor:
    """Return a tensor with length 1 along the axes that it is known to repeat itself along."""
    return getattr(x, _ONCE, x)


def shrink(x: Tensor) -> Tensor:
    """Return a tensor with length 1 along all axes along which it lies in memory once.

    Examples
    --------
    >>> import torch
    >>> shrink(torch.zeros(5, 1).expand(5, 1000)).shape
    torch.Size([5, 1])
    """
    return x[tuple(slice(0, 1) if step == 0 else slice(None) for step in x.stride())]
