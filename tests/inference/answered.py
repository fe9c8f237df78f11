"""Answers of conjugate models, and what they must be."""

import math
import warnings

import numpy as np

from scipy import stats

from pymc_amortized.errors import (
    AtypicalDataWarning,
)

RUNGS = ("importance", "adaptive", "smc", "mcmc")


def sample(posterior, *args, **kwargs):
    kwargs.setdefault("random_seed", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AtypicalDataWarning)
        return posterior.sample(*args, **kwargs)


def sample_many(posterior, *args, **kwargs):
    kwargs = {"random_seed": 1, "progressbar": False, **kwargs}
    return posterior.sample_many(*args, **kwargs)


def exact_mean(y):
    variance = 1 / (1 / 4 + len(y))
    return stats.norm(variance * y.sum(), math.sqrt(variance))


def exact_log_evidence(y):
    return stats.multivariate_normal(np.zeros(len(y)), np.eye(len(y)) + 4).logpdf(y)
