"""Tied values of continuous variables, which measurements have and simulations do not."""

from collections.abc import Mapping

import numpy as np

__all__ = ["find_atoms", "spread_ties"]


def find_atoms(simulations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Find the values that continuous variables repeat, such as the zeros of a hurdle.

    Parameters
    ----------
    simulations : mapping of str to numpy.ndarray, shape (B, *shape)
        Simulated observations; integers are left out.

    Returns
    -------
    dict of str to numpy.ndarray
        Sorted; empty for a variable without any.

    Examples
    --------
    >>> find_atoms({"y": np.array([[0.0, 1.5], [0.0, 2.5]]), "count": np.array([[1, 2]])})
    {'y': array([0.])}
    """
    atoms = {}
    for name, values in simulations.items():
        if values.dtype.kind == "f":
            distinct, counts = np.unique(values, return_counts=True)
            atoms[name] = distinct[counts > 1]
    return atoms


def spread_ties(values: np.ndarray, observed: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Spread tied values over the gaps around them, column by column.

    Measurements are rounded, and simulations of a continuous variable are not: to a network, ten
    equal values are like nothing that it was trained on. So each group of equal values is spread at
    random, always the same way, half of the way to its neighbours, and no farther than half of the
    usual distance between values. Only networks see the result: densities are those of the data.

    Parameters
    ----------
    values : numpy.ndarray, shape (units, *event)
        Data.
    observed : numpy.ndarray of bool, shape (units, *event)
        Where they are.
    atoms : numpy.ndarray
        Sorted values that the model itself repeats, and that stay as they are.

    Examples
    --------
    >>> rounded = np.array([1.0, 1.0, 2.0, 3.0])
    >>> spread = spread_ties(rounded, np.ones(4, dtype=bool), np.array([]))
    >>> bool((np.abs(spread - rounded) <= 0.5).all()), len(np.unique(spread)), spread[2:]
    (True, 4, array([2., 3.]))
    """
    rng = np.random.default_rng(0)
    spread = values.copy()
    columns = spread.reshape(len(values), -1) if values.ndim else spread.reshape(1, 1)
    shown = observed.reshape(columns.shape)
    for column, mask in zip(columns.T, shown.T, strict=True):
        continuous = mask & ~np.isin(column, atoms)
        distinct, group, counts = np.unique(
            column[continuous], return_inverse=True, return_counts=True
        )
        if distinct.size < 2 or distinct.size == group.size:
            continue
        gaps = np.diff(distinct)
        gaps = np.minimum(np.concatenate([gaps[:1], gaps, gaps[-1:]]), np.median(gaps))
        low, high = -gaps[:-1] / 2, gaps[1:] / 2
        moved = low[group] + (high - low)[group] * rng.random(group.size)
        column[continuous] += np.where(counts[group] > 1, moved, 0.0)
    return spread
