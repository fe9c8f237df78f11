"""Eight tasks whose likelihood is a formula.

Each function takes the observed values, P numbers in the order of the benchmark, and returns a
model whose only parameter is ``theta`` (D,).
"""

import functools

import numpy as np
import pymc as pm
import pytensor.tensor as pt

__all__ = [
    "bernoulli_glm",
    "bernoulli_glm_raw",
    "design_matrix",
    "gaussian_linear",
    "gaussian_linear_uniform",
    "gaussian_mixture",
    "glm_precision",
    "slcp",
    "slcp_distractors",
    "two_moons",
]

_NOISE = np.sqrt(0.1)
_NUM_BINS = 100
_NUM_DISTRACTORS = 92


def gaussian_linear(y):
    """A normal mean of ten numbers, with a normal prior."""
    with pm.Model() as model:
        theta = pm.Normal("theta", 0, _NOISE, shape=10)
        pm.Normal("y", theta, _NOISE, observed=y)
    return model


def gaussian_linear_uniform(y):
    """A normal mean of ten numbers, with a uniform prior."""
    with pm.Model() as model:
        theta = pm.Uniform("theta", -1, 1, shape=10)
        pm.Normal("y", theta, _NOISE, observed=y)
    return model


def gaussian_mixture(y):
    """One location with noise that is either wide or narrow."""
    with pm.Model() as model:
        theta = pm.Uniform("theta", -10, 10, shape=2)
        components = [pm.MvNormal.dist(theta, scale**2 * np.eye(2)) for scale in (1.0, 0.1)]
        pm.Mixture("y", w=[0.5, 0.5], comp_dists=components, observed=y)
    return model


def glm_precision():
    """Return the precision (10, 10) of the prior of an offset and nine lags of a filter."""
    first = np.eye(9) - np.eye(9, k=-1)
    second = first @ first + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0] = 0.5
    precision[1:, 1:] = second.T @ second
    return precision


@functools.cache
def design_matrix():
    """Return a column of ones beside a stimulus of white noise at nine lags, (100, 10)."""
    stimulus = np.random.RandomState(42).randn(_NUM_BINS).astype(np.float32).astype(float)
    lags = [np.concatenate([np.zeros(lag), stimulus[: _NUM_BINS - lag]]) for lag in range(9)]
    return np.stack([np.ones(_NUM_BINS), *lags], axis=1)


def _glm_prior():
    return pm.MvNormal("theta", np.zeros(10), tau=glm_precision())


def bernoulli_glm_raw(y):
    """Spikes of a neuron in a hundred bins of time."""
    with pm.Model() as model:
        pm.Bernoulli("y", logit_p=pt.dot(design_matrix(), _glm_prior()), observed=y.astype(int))
    return model


def _draw_spike_counts(theta, rng=None, size=None):
    design = design_matrix()
    spikes = rng.random((*theta.shape[:-1], _NUM_BINS)) < 1 / (1 + np.exp(-theta @ design.T))
    return spikes @ design


def _log_spike_counts(y, theta):
    log_normalizer = pt.softplus(pt.dot(theta, design_matrix().T)).sum(-1)
    return (y * theta).sum(-1) - log_normalizer


def bernoulli_glm(y):
    """What is sufficient of these spikes: their number, and the stimulus before them."""
    with pm.Model() as model:
        pm.CustomDist(
            "y",
            _glm_prior(),
            random=_draw_spike_counts,
            logp=_log_spike_counts,
            signature="(d)->(d)",
            observed=y,
        )
    return model


def _slcp_moments(theta):
    """Return the mean (2,), standard deviations and correlation of the four points."""
    return theta[:2], theta[2] ** 2, theta[3] ** 2, pt.tanh(theta[4])


def _slcp_covariance(first, second, correlation):
    both = correlation * first * second
    return pt.stacklists([[first**2 + 1e-6, both], [both, second**2 + 1e-6]])


def slcp(y):
    """Four points of one normal distribution whose covariance has four explanations."""
    with pm.Model() as model:
        mean, *rest = _slcp_moments(pm.Uniform("theta", -3, 3, shape=5))
        pm.MvNormal("y", mean, _slcp_covariance(*rest), observed=y.reshape(4, 2))
    return model


@functools.cache
def _distractors():
    """Return locations (20, 92), factors (20, 92, 92) and the permutation of a hundred numbers."""
    rng = np.random.RandomState(42)
    number = _NUM_DISTRACTORS
    locations = np.stack([15 * rng.normal(size=number) for _ in range(20)])
    factors = []
    for _ in range(20):
        lower = np.tril(rng.normal(size=(number, number)), -1)
        factors.append(3 * (lower + np.diag(np.exp(rng.normal(size=number)))))
    return locations, np.stack(factors), rng.permutation(100)


def _draw_among_distractors(theta, permutation, rng=None, size=None):
    permutation = permutation.reshape(-1, 100)[0]
    locations, factors, _ = _distractors()
    batch = theta.shape[:-1]
    first, second, correlation = theta[..., 2] ** 2, theta[..., 3] ** 2, np.tanh(theta[..., 4])
    one, other = rng.normal(size=(2, *batch, 4))
    rest = np.sqrt(second**2 + 1e-6 - (correlation * first * second) ** 2 / (first**2 + 1e-6))
    scale = np.sqrt(first**2 + 1e-6)
    slope = correlation * first * second / scale
    x = theta[..., 0, None] + scale[..., None] * one
    y = theta[..., 1, None] + slope[..., None] * one + rest[..., None] * other
    points = np.stack([x, y], axis=-1).reshape(*batch, 8)
    which = rng.integers(20, size=batch)
    normal = rng.normal(size=(*batch, _NUM_DISTRACTORS))
    noise = np.empty_like(normal)
    for k in range(20):
        noise[which == k] = normal[which == k] @ factors[k].T
    tails = np.sqrt(rng.chisquare(2, size=batch) / 2)
    noise = locations[which] + noise / tails[..., None]
    return np.concatenate([points, noise], axis=-1)[..., permutation]


def _log_among_distractors(y, theta, permutation):
    where = pt.argsort(permutation)[:8]
    mean, *rest = _slcp_moments(theta)
    points = y[where].reshape((4, 2))
    return pm.logp(pm.MvNormal.dist(mean, _slcp_covariance(*rest)), points).sum()


def slcp_distractors(y):
    """These eight numbers among ninety-two that tell nothing."""
    with pm.Model() as model:
        theta = pm.Uniform("theta", -3, 3, shape=5)
        pm.CustomDist(
            "y",
            theta,
            _distractors()[2],
            random=_draw_among_distractors,
            logp=_log_among_distractors,
            signature="(d),(p)->(p)",
            observed=y,
        )
    return model


def _draw_moons(theta, rng=None, size=None):
    angle = rng.uniform(-np.pi / 2, np.pi / 2, size=theta.shape[:-1])
    radius = rng.normal(0.1, 0.01, size=theta.shape[:-1])
    x = radius * np.cos(angle) + 0.25 - np.abs(theta.sum(-1)) / np.sqrt(2)
    y = radius * np.sin(angle) + (theta[..., 1] - theta[..., 0]) / np.sqrt(2)
    return np.stack([x, y], axis=-1)


def _log_moons(y, theta):
    u = y[..., 0] + pt.abs(theta.sum(-1)) / np.sqrt(2) - 0.25
    v = y[..., 1] - (theta[..., 1] - theta[..., 0]) / np.sqrt(2)
    radius = pt.sqrt(u**2 + v**2)
    log_density = pm.logp(pm.Normal.dist(0.1, 0.01), radius) - pt.log(np.pi * radius)
    return pt.switch(u > 0, log_density, -np.inf)


def two_moons(y):
    """A point on a crescent, which two crescents of parameters may have made."""
    with pm.Model() as model:
        pm.CustomDist(
            "y",
            pm.Uniform("theta", -1, 1, shape=2),
            random=_draw_moons,
            logp=_log_moons,
            signature="(d)->(d)",
            observed=y,
        )
    return model
