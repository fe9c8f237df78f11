"""What every method of relabelling returns, and the search that the iterative ones share."""

import dataclasses

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import numpy as np

__all__ = ["Alternation", "Relabelling", "alternate", "evenly_spaced", "search"]

Pivot = TypeVar("Pivot")
_MAX_ITERATIONS = 200
_NUM_FOR_START = 400


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Relabelling:
    """Permutations of the labels of S draws.

    Attributes
    ----------
    permutations : numpy.ndarray of int, shape (S, K)
        For each new label, which old one it is.
    criterion : float
        What the method has minimized.
    history : tuple of float
        The criterion after each iteration; one for methods that need none.
    """

    permutations: np.ndarray
    criterion: float
    history: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Alternation(Generic[Pivot]):
    """The two steps of an iterative method, for all draws or some of them.

    Attributes
    ----------
    pivot : callable
        From permutations (s, K) of draws, and these, to what all are compared with.
    assign : callable
        From a pivot and draws to the best permutations (s, K), and what each costs (s,).
    """

    pivot: Callable[[np.ndarray, np.ndarray | slice], Pivot]
    assign: Callable[[Pivot, np.ndarray | slice], tuple[np.ndarray, np.ndarray]]


def alternate(
    steps: Alternation[Pivot], start: Pivot, draws: np.ndarray | slice
) -> tuple[Relabelling, Pivot]:
    """Repeat both steps until the criterion, the sum of what draws cost, no longer falls.

    Returns the best permutations, and the pivot that they are best for.
    """
    pivot, history = start, []
    best, best_pivot = None, start
    for _ in range(_MAX_ITERATIONS):
        permutations, costs = steps.assign(pivot, draws)
        history.append(float(costs.sum()))
        if best is not None and not history[-1] < min(history[:-1]):
            break
        best, best_pivot = permutations, pivot
        pivot = steps.pivot(permutations, draws)
    return Relabelling(best, min(history), tuple(history)), best_pivot


def search(steps: Alternation[Pivot], starts: Iterable[Pivot], num_draws: int) -> Relabelling:
    """Alternate from several pivots on some of the draws, and on all of them from the best end.

    Labels that are symmetric have no best pivot to begin with, and a bad one ends in a worse
    minimum than others.
    """
    stride = max(1, num_draws // _NUM_FOR_START)
    some = np.arange(0, num_draws, stride)
    ends = [alternate(steps, start, some) for start in starts]
    best = min(ends, key=lambda end: end[0].criterion)[1]
    return alternate(steps, best, slice(None))[0]


def evenly_spaced(num_draws: int, count: int = 5) -> np.ndarray:
    """Return indices of a few draws."""
    return np.unique(np.linspace(0, num_draws - 1, count).astype(int))
