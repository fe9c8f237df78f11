"""Priors and families of components, each in PyMC and, independently of it, in NumPy and SciPy.

Densities here know nothing of the package: values have a leading axis of S draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc.distributions.transforms import ordered
from scipy import special, stats

__all__ = [
    "FAMILIES",
    "INFLATED",
    "ORDERED",
    "PRIORS",
    "Argument",
    "Family",
    "Prior",
    "dirichlet",
    "softmax",
]


@dataclass(frozen=True)
class Prior:
    """A prior of independent entries, and how its values are unconstrained.

    ``log_density`` is that of unconstrained values, Jacobian included, entry by entry.
    """

    write: Callable
    draw: Callable
    log_density: Callable


def _log_of_positive(law):
    return lambda x: law.logpdf(x) + np.log(x)


def _logit(law, low=0.0, high=1.0):
    return lambda x: law.logpdf(x) + np.log(x - low) + np.log(high - x) - np.log(high - low)


def _from(law):
    return lambda rng, shape: law.rvs(size=shape, random_state=rng)


_TRUNCATED = stats.truncnorm(-1.0, 2.0, loc=0.0, scale=1.0)
_INTERVAL = stats.uniform(0.5, 2.5)
REAL = {
    "normal": (partial(pm.Normal, mu=0.5, sigma=1.5), stats.norm(0.5, 1.5), None),
    "student": (partial(pm.StudentT, nu=5, mu=0, sigma=1), stats.t(5), None),
    "laplace": (partial(pm.Laplace, mu=0, b=1), stats.laplace(), None),
    "logistic": (partial(pm.Logistic, mu=0, s=0.7), stats.logistic(0, 0.7), None),
    "uniform": (partial(pm.Uniform, lower=-2, upper=2), stats.uniform(-2, 4), (-2.0, 2.0)),
    "truncated": (
        partial(pm.TruncatedNormal, mu=0, sigma=1, lower=-1, upper=2),
        _TRUNCATED,
        (-1.0, 2.0),
    ),
}
POSITIVE = {
    "half normal": (partial(pm.HalfNormal, sigma=2), stats.halfnorm(0, 2), "log"),
    "exponential": (partial(pm.Exponential, lam=0.7), stats.expon(0, 1 / 0.7), "log"),
    "gamma": (partial(pm.Gamma, alpha=3, beta=1.5), stats.gamma(3, 0, 1 / 1.5), "log"),
    "log normal": (partial(pm.LogNormal, mu=0, sigma=0.5), stats.lognorm(0.5), "log"),
    "inverse gamma": (partial(pm.InverseGamma, alpha=4, beta=4), stats.invgamma(4, 0, 4), "log"),
    "weibull": (partial(pm.Weibull, alpha=2, beta=1.5), stats.weibull_min(2, 0, 1.5), "log"),
    "interval": (partial(pm.Uniform, lower=0.5, upper=3), _INTERVAL, (0.5, 3.0)),
}
SHARE = {
    "beta": (partial(pm.Beta, alpha=2, beta=3), stats.beta(2, 3), (0.0, 1.0)),
    "uniform": (partial(pm.Uniform, lower=0, upper=1), stats.uniform(), (0.0, 1.0)),
    "kumaraswamy": (partial(pm.Kumaraswamy, a=2, b=2), None, (0.0, 1.0)),
}


class _Kumaraswamy:
    def rvs(self, size, random_state):
        return np.sqrt(1 - np.sqrt(random_state.uniform(size=size)))

    def logpdf(self, x):
        return np.log(4 * x) + np.log1p(-(x**2))


def _prior(write, law, transform):
    law = law or _Kumaraswamy()
    # Rewriting a model, pymc-extras has 1 / 1.5 in single precision, if 1.5 is given in that.
    write = partial(write.func, **{name: np.float64(x) for name, x in write.keywords.items()})
    if transform is None:
        return Prior(write, _from(law), law.logpdf)
    if transform == "log":
        return Prior(write, _from(law), _log_of_positive(law))
    return Prior(write, _from(law), _logit(law, *transform))


PRIORS = {
    kind: [_prior(*entry) for entry in table.values()]
    for kind, table in {"real": REAL, "positive": POSITIVE, "share": SHARE}.items()
}
ORDERED = Prior(
    lambda name, **kwargs: pm.Normal(
        name, 0, 1.5, transform=ordered, initval=np.arange(kwargs["shape"][0]), **kwargs
    ),
    lambda rng, shape: np.sort(rng.normal(0, 1.5, shape), axis=-1),
    lambda x: np.concatenate(
        [
            stats.norm(0, 1.5).logpdf(x[..., :1]),
            stats.norm(0, 1.5).logpdf(x[..., 1:]) + np.log(np.diff(x, axis=-1)),
        ],
        axis=-1,
    ),
)


def softmax(x):
    """Return weights (..., K), of numbers in NumPy or of PyTensor variables."""
    return special.softmax(x, axis=-1) if isinstance(x, np.ndarray) else pt.special.softmax(x, -1)


def dirichlet(concentration):
    """Return the prior of rows that sum to one (..., K), as unconstrained by PyMC."""
    K = len(concentration)

    def log_density(x):
        constant = special.gammaln(concentration.sum()) - special.gammaln(concentration).sum()
        return constant + (concentration * np.log(x)).sum(-1) + np.log(K)

    def draw(rng, shape):
        return rng.dirichlet(concentration, size=shape[:-1])

    def write(name, shape=None, **kwargs):
        return pm.Dirichlet(name, concentration, shape=shape, **kwargs)

    return Prior(write, draw, log_density)


@dataclass(frozen=True)
class Argument:
    """An argument of a component: its name in PyMC, and what values it takes."""

    name: str
    support: str = "real"
    regression: str | None = None
    """The link of a linear predictor that may stand for it."""


@dataclass(frozen=True)
class Family:
    """A family of components.

    ``dist`` is called with arguments and ``shape=``; ``write`` is the same with a name in front;
    ``log_density(y, *arguments)`` is in nats, ``data(rng, shape)`` gives values in its support.
    """

    arguments: tuple[Argument, ...]
    dist: Callable
    log_density: Callable
    data: Callable
    write: Callable | None = None
    event: int = 0


def _plain(distribution, arguments, log_density, data, **fixed):
    names = [a.name for a in arguments]

    def named(values):
        return dict(zip(names, values, strict=True))

    return Family(
        arguments,
        lambda *values, **kwargs: distribution.dist(**named(values), **fixed, **kwargs),
        log_density,
        data,
        lambda name, *values, **kwargs: distribution(name, **named(values), **fixed, **kwargs),
    )


def _real(rng, shape):
    return rng.normal(0.5, 2, shape).round(2)


def _positive(rng, shape):
    return rng.gamma(2, 1, shape).round(2) + 0.05


def _share(rng, shape):
    return rng.beta(2, 2, shape).clip(0.02, 0.98).round(2)


def _count(rng, shape):
    return rng.poisson(2.5, shape) * rng.binomial(1, 0.8, shape)


def _poisson(y, mu):
    return special.xlogy(y, mu) - mu - special.gammaln(y + 1)


def _negative_binomial(y, mu, alpha):
    binomial = special.gammaln(y + alpha) - special.gammaln(alpha) - special.gammaln(y + 1)
    return binomial + alpha * np.log(alpha / (mu + alpha)) + special.xlogy(y, mu / (mu + alpha))


def _binomial(y, p, n=6):
    return stats.binom.logpmf(y, n, p)


def _inflated(plain):
    def log_density(y, psi, *arguments):
        here = np.log(psi) + plain(y, *arguments)
        return np.where(y == 0, np.logaddexp(np.log1p(-psi), here), here)

    return log_density


def _hurdle_gamma(y, psi, alpha, beta):
    at = np.where(y == 0, 1.0, y)
    gamma = stats.gamma.logpdf(at, alpha, scale=1 / beta)
    return np.where(y == 0, np.log1p(-psi), np.log(psi) + gamma)


def _gap_or_positive(rng, shape):
    return _positive(rng, shape) * rng.binomial(1, 0.7, shape)


UPPER, LOWER = 1.5, -3.0


def _censored(y, mu, sigma):
    above = stats.norm.logsf(UPPER, mu, sigma)
    return np.where(y >= UPPER, above, stats.norm.logpdf(y, mu, sigma))


def _truncated(y, mu, sigma):
    return stats.norm.logpdf(y, mu, sigma) - stats.norm.logsf(LOWER, mu, sigma)


def _around(wrapper, **bounds):
    """Return a censored or truncated normal distribution."""

    def inner(mu, sigma, shape=None):
        return (
            pm.Normal.dist(mu, sigma) if shape is None else pm.Normal.dist(mu, sigma, shape=shape)
        )

    def dist(mu, sigma, shape=None):
        return wrapper.dist(inner(mu, sigma, shape), **bounds)

    def write(name, mu, sigma, **kwargs):
        return wrapper(name, inner(mu, sigma), **bounds, **kwargs)

    return dist, write


_COVARIANCE = np.array([[1.0, 0.5], [0.5, 2.0]])


def _multivariate_log_density(y, mu):
    apart = y[..., None, :] - mu
    square = np.einsum("...i,ij,...j->...", apart, np.linalg.inv(_COVARIANCE), apart)
    return -square / 2 - np.log(2 * np.pi) - np.log(np.linalg.det(_COVARIANCE)) / 2


MU, SIGMA = Argument("mu", regression="identity"), Argument("sigma", "positive")
_LOCATION = (MU, SIGMA)
_RATE = Argument("mu", "positive", regression="exp")
_censored_dist, _censored_write = _around(pm.Censored, lower=None, upper=UPPER)
_truncated_dist, _truncated_write = _around(pm.Truncated, lower=LOWER, upper=None)
FAMILIES = {
    "normal": _plain(pm.Normal, _LOCATION, stats.norm.logpdf, _real),
    "student": _plain(
        pm.StudentT, _LOCATION, lambda y, m, s: stats.t.logpdf(y, 4, m, s), _real, nu=4
    ),
    "laplace": _plain(pm.Laplace, (MU, Argument("b", "positive")), stats.laplace.logpdf, _real),
    "von Mises": _plain(
        pm.VonMises,
        (MU, Argument("kappa", "positive")),
        lambda y, m, k: stats.vonmises.logpdf(y, k, m),
        lambda rng, shape: rng.uniform(-3, 3, shape).round(2),
    ),
    "log normal": _plain(
        pm.LogNormal,
        _LOCATION,
        lambda y, m, s: stats.norm.logpdf(np.log(y), m, s) - np.log(y),
        _positive,
    ),
    "exponential": _plain(
        pm.Exponential,
        (Argument("lam", "positive", regression="exp"),),
        lambda y, rate: np.log(rate) - rate * y,
        _positive,
    ),
    "gamma": _plain(
        pm.Gamma,
        (Argument("alpha", "positive"), Argument("beta", "positive", regression="exp")),
        lambda y, a, b: stats.gamma.logpdf(y, a, scale=1 / b),
        _positive,
    ),
    "weibull": _plain(
        pm.Weibull,
        (Argument("alpha", "positive"), Argument("beta", "positive", regression="exp")),
        lambda y, a, b: stats.weibull_min.logpdf(y, a, scale=b),
        _positive,
    ),
    "beta": _plain(
        pm.Beta,
        (Argument("alpha", "positive"), Argument("beta", "positive")),
        stats.beta.logpdf,
        _share,
    ),
    "poisson": _plain(pm.Poisson, (_RATE,), _poisson, _count),
    "negative binomial": _plain(
        pm.NegativeBinomial, (_RATE, Argument("alpha", "positive")), _negative_binomial, _count
    ),
    "geometric": _plain(
        pm.Geometric,
        (Argument("p", "share", regression="sigmoid"),),
        lambda y, p: np.log(p) + (y - 1) * np.log1p(-p),
        lambda rng, shape: _count(rng, shape) + 1,
    ),
    "binomial": _plain(
        pm.Binomial,
        (Argument("p", "share", regression="sigmoid"),),
        _binomial,
        lambda rng, shape: rng.integers(0, 7, shape),
        n=6,
    ),
    "bernoulli": _plain(
        pm.Bernoulli,
        (Argument("p", "share", regression="sigmoid"),),
        lambda y, p: special.xlogy(y, p) + special.xlog1py(1 - y, -p),
        lambda rng, shape: rng.integers(0, 2, shape),
    ),
    "zero-inflated poisson": _plain(
        pm.ZeroInflatedPoisson, (Argument("psi", "share"), _RATE), _inflated(_poisson), _count
    ),
    "zero-inflated binomial": _plain(
        pm.ZeroInflatedBinomial,
        (Argument("psi", "share"), Argument("p", "share", regression="sigmoid")),
        _inflated(_binomial),
        lambda rng, shape: rng.integers(0, 7, shape),
        n=6,
    ),
    "hurdle gamma": _plain(
        pm.HurdleGamma,
        (Argument("psi", "share"), Argument("alpha", "positive"), Argument("beta", "positive")),
        _hurdle_gamma,
        _gap_or_positive,
    ),
    "censored normal": Family(
        _LOCATION,
        _censored_dist,
        _censored,
        lambda rng, shape: np.minimum(_real(rng, shape), UPPER),
        _censored_write,
    ),
    "truncated normal": Family(
        (Argument("mu"), SIGMA),
        _truncated_dist,
        _truncated,
        lambda rng, shape: np.maximum(_real(rng, shape), LOWER + 0.1),
        _truncated_write,
    ),
    "multivariate normal": Family(
        (Argument("mu"),),
        lambda mu, **kwargs: pm.MvNormal.dist(mu, _COVARIANCE, **kwargs),
        _multivariate_log_density,
        lambda rng, shape: rng.normal(0.5, 2, (*shape, 2)).round(2),
        lambda name, mu, **kwargs: pm.MvNormal(name, mu, _COVARIANCE, **kwargs),
        event=2,
    ),
}
INFLATED = {"zero-inflated poisson", "zero-inflated binomial", "hurdle gamma"}
"""Families with an indicator of their own, unless they are components of a mixture."""
