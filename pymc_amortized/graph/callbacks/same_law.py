"""Whether draws of many data sets at once have the law of draws one at a time."""

from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["p_value_of_same_law"]

_NUM_COORDINATES = 8
_TIE = 1e-8
_WELL_SPREAD = 0.5


def p_value_of_same_law(singly: np.ndarray, together: np.ndarray) -> float:
    """Compare draws of the same rows of parameters, made one at a time and in batches.

    Ranks among all draws of a row are compared: by their mean and their spread in each row, so that
    rows that were exchanged or ignored are seen, and by how batches agree within themselves, so
    that noise that data sets share is seen. Draws of a batch must be independent.

    Parameters
    ----------
    singly, together : array, shape (calls, repeats, rows, *event)
        Those of ``together[i]`` come from one call.

    Returns
    -------
    float
        Smallest p-value times the number of tests, at most 1: below 0.001 for at most one function
        in 1,000 that takes batches rightly.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> singly, together = rng.normal(size=(2, 8, 4, 16, 5))
    >>> p_value_of_same_law(singly, together) > 0.001
    True
    >>> p_value_of_same_law(singly, np.broadcast_to(together[:1, :1, :1], singly.shape)) > 0.001
    False
    """
    first, second = _features(singly), _features(together)  # (calls, repeats, rows, F)
    p_values = torch.cat(list(_tests(*_scores(first, second))))
    p_values = p_values[~p_values.isnan()]
    return min(float(p_values.min()) * len(p_values), 1.0) if len(p_values) else 1.0


def _features(draws: np.ndarray) -> np.ndarray:
    """Return some coordinates of each draw, and what sums up all of them."""
    flat = draws.reshape(*draws.shape[:3], -1).astype(float)
    size = flat.shape[-1]
    some = np.unique(np.linspace(0, size - 1, _NUM_COORDINATES).astype(int))
    if size == 1:
        return flat
    with np.errstate(invalid="ignore", over="ignore"):
        sums = [flat.mean(-1), (flat**2).mean(-1), (flat[..., 1:] * flat[..., :-1]).mean(-1)]
    return np.concatenate([flat[..., some], np.stack(sums, axis=-1)], axis=-1)


def _scores(first: np.ndarray, second: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centred ranks (calls, repeats, rows, F) of both, among all draws of their row.

    What differs by rounding alone is a tie.
    """
    shape = first.shape
    values = np.concatenate([x.reshape(-1, *shape[2:]) for x in (first, second)])
    values = np.where(np.isnan(values), np.inf, values)
    largest = np.abs(values).max(0)
    with np.errstate(invalid="ignore"):
        is_one = np.isfinite(largest) & (np.ptp(values, axis=0) <= _TIE * largest)
    values = torch.as_tensor(np.where(is_one, 0.0, values))
    above = (values[:, None] > values).double() - (values[:, None] < values).double()
    ranks = above.sum(1) / 2
    return ranks[: len(ranks) // 2].reshape(shape), ranks[len(ranks) // 2 :].reshape(shape)


def _tests(first: torch.Tensor, second: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield p-values (F,), NaN where nothing varies."""
    pooled = torch.cat([first, second]).flatten(0, 1)  # (2 R, rows, F)
    own = second.flatten(0, 1)
    middle = (pooled**2).mean(0)
    yield from _location_tests(pooled, own)
    yield from _location_tests(pooled**2 - middle, own**2 - middle)
    count = len(pooled)
    variance = _variance(pooled)
    # Where most draws of a row are alike, the sums below are not nearly normal.
    used = variance >= _WELL_SPREAD * count**2 / 12
    variance, scores = variance * used, second * used
    calls, repeats, rows, _ = scores.shape
    share = repeats / count
    totals = scores.sum((1, 2))  # (calls, F)
    ratio = (totals**2).sum(0) / (repeats * (1 - share) * variance.sum(0))
    # Calls share out one set of ranks, which correlates their totals a little.
    above = _chi2_above(ratio / (1 + share / (1 - share)), torch.tensor(float(calls)))
    yield 2 * torch.minimum(above, 1 - above)
    standard = torch.where(used, scores / variance.sqrt(), 0.0).reshape(calls, repeats * rows, -1)
    products = standard[:, 1:] * standard[:, :-1]
    known = (used.repeat(repeats, 1)[1:] & used.repeat(repeats, 1)[:-1]).sum(0) * calls
    yield _chi2_above(products.sum((0, 1)) ** 2 / known, torch.tensor(1.0))


def _location_tests(pooled: torch.Tensor, own: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield p-values (F,) of sums of scores: in each row, and over all rows."""
    sums = own.sum(0)  # (rows, F)
    variance = _variance(pooled) * len(own) * (1 - len(own) / len(pooled))
    varies = variance > 0
    squares = torch.where(varies, sums**2 / variance, 0.0)
    yield _chi2_above(squares.sum(0), varies.sum(0).double())
    yield _chi2_above(sums.sum(0) ** 2 / variance.sum(0), torch.tensor(1.0))


def _variance(scores: torch.Tensor) -> torch.Tensor:
    return (scores**2).sum(0) / (len(scores) - 1)


def _chi2_above(x: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    above = torch.special.gammaincc(degrees.clamp(min=1) / 2, x / 2)
    return torch.where(degrees > 0, above, torch.nan)
