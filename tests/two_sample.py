"""Two-sample tests for simulators: the distribution of each coordinate, and the joint one.

Marginals are compared by Kolmogorov-Smirnov tests, or chi-squared tests where there are few values.
The joint is compared by the means of products of two and of three coordinates, each coordinate
being replaced by its normal score in the pooled sample; in large samples these means differ by a
normal amount. All p-values are multiplied by their number, so that a right simulator passes at
least 999 times in 1,000 at ``LEVEL``.
"""

import itertools

import numpy as np

from scipy import stats

LEVEL = 1e-3
_MAX_TRIPLES = 300


def smallest_p_value(first: dict, second: dict) -> tuple[float, str]:
    """Return the smallest p-value times the number of tests, and what it belongs to.

    Parameters
    ----------
    first, second : dict of str to array, shape (S, *shape)
        Draws of the same variables.
    """
    names, x = _columns(first)
    other_names, y = _columns(second)
    assert names == other_names
    p_values = {}
    for i, name in enumerate(names):
        p_values[f"marginal of {name}"] = _marginal(x[:, i], y[:, i])
    scores_x, scores_y = _normal_scores(x, y)
    for chosen in _subsets(scores_x.shape[1]):
        p = _mean_test(scores_x[:, chosen].prod(1), scores_y[:, chosen].prod(1))
        p_values["joint of " + ", ".join(names[i] for i in chosen)] = p
    worst = min(p_values, key=p_values.get)
    return min(p_values[worst] * len(p_values), 1.0), worst


def _columns(draws: dict) -> tuple[list[str], np.ndarray]:
    names, columns = [], []
    for name in sorted(draws):
        flat = np.asarray(draws[name], dtype=float).reshape(len(draws[name]), -1)
        names += [f"{name}[{i}]" for i in range(flat.shape[1])]
        columns.append(flat)
    return names, np.concatenate(columns, axis=1)


def _marginal(x: np.ndarray, y: np.ndarray) -> float:
    values = np.union1d(x, y)
    if len(values) <= 30:
        counts = np.array([[np.sum(s == v) for v in values] for s in (x, y)])
        counts = counts[:, counts.sum(0) >= 10]
        return 1.0 if counts.shape[1] < 2 else stats.chi2_contingency(counts).pvalue
    return stats.ks_2samp(x, y, method="asymp").pvalue


def _normal_scores(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pooled = np.concatenate([x, y])
    ranks = stats.rankdata(pooled, axis=0)
    scores = stats.norm.ppf((ranks - 0.5) / len(pooled))
    spread = scores.std(0)
    scores = (scores - scores.mean(0)) / np.where(spread > 0, spread, 1)
    return scores[: len(x)], scores[len(x) :]


def _subsets(count: int) -> list[list[int]]:
    pairs = [list(c) for c in itertools.combinations(range(count), 2)]
    triples = [list(c) for c in itertools.combinations(range(count), 3)]
    rng = np.random.default_rng(0)
    if len(triples) > _MAX_TRIPLES:
        kept = rng.choice(len(triples), _MAX_TRIPLES, replace=False)
        triples = [triples[i] for i in kept]
    return pairs + triples


def _mean_test(x: np.ndarray, y: np.ndarray) -> float:
    error = np.sqrt(x.var() / len(x) + y.var() / len(y))
    if error == 0:
        return 1.0 if x.mean() == y.mean() else 0.0
    return 2 * stats.norm.sf(abs(x.mean() - y.mean()) / error)
