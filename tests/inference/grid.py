"""A chain of two states whose posterior is known on a grid."""

import warnings

import numpy as np

from scipy import stats

from pymc_amortized.errors import (
    AccuracyWarning,
)

GRID_MU = np.linspace(-2.5, 3.5, 121)
GRID_STAY = np.linspace(0.02, 0.98, 49)


def grid():
    mu, stay = np.meshgrid(GRID_MU, GRID_STAY, indexing="ij")
    return mu.ravel(), stay.ravel()


def forward_backward(y, mu, stay, observed=None):
    """Filter, smooth and pair probabilities for draws (S,), one step after the other."""
    P = np.stack([np.stack([stay, 1 - stay], -1), np.broadcast_to([0.4, 0.6], (len(mu), 2))], 1)
    e = stats.norm(mu[:, None, None] + 2.5 * np.arange(2), 1).pdf(np.asarray(y)[:, None])
    if observed is not None:
        e[:, ~observed] = 1
    num_times = len(y)
    alpha = np.empty((len(mu), num_times, 2))
    log_marginal = np.zeros(len(mu))
    predicted = np.broadcast_to([0.7, 0.3], (len(mu), 2))
    for t in range(num_times):
        joint = predicted * e[:, t]
        total = joint.sum(1, keepdims=True)
        alpha[:, t] = joint / total
        log_marginal += np.log(total[:, 0])
        predicted = (alpha[:, t, :, None] * P).sum(1)
    beta = np.ones((len(mu), num_times, 2))
    for t in range(num_times - 2, -1, -1):
        beta[:, t] = (P * (e[:, t + 1] * beta[:, t + 1])[:, None]).sum(2)
        beta[:, t] /= beta[:, t].sum(1, keepdims=True)
    gamma = alpha * beta
    gamma /= gamma.sum(-1, keepdims=True)
    pair = alpha[:, :-1, :, None] * P[:, None] * (e * beta)[:, 1:, None, :]
    pair /= pair.sum((2, 3), keepdims=True)
    return log_marginal, alpha, gamma, pair


def grid_posterior(y, observed=None):
    """Weights of the grid, and filtering, smoothing and pair probabilities averaged over it."""
    mu, stay = grid()
    log_marginal, alpha, gamma, pair = forward_backward(y, mu, stay, observed)
    log_p = log_marginal + stats.norm(0, 2).logpdf(mu) + stats.beta(8, 2).logpdf(stay)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return p, *(np.einsum("s,s...->...", p, x) for x in (alpha, gamma, pair))


def sample(posterior, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        return posterior.sample(*args, random_seed=1, **kwargs)
