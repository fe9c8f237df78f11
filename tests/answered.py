"""Answers, as flat draws."""

import numpy as np

from pymc_amortized.compat import groups_of_result
from pymc_amortized.results.reading import sampled


def flat(idata, name):
    values = np.asarray(sampled(groups_of_result(idata))[name])
    return values.reshape(-1, *values.shape[2:])


def sample(posterior, *args, **kwargs):
    kwargs.setdefault("random_seed", 1)
    return posterior.sample(*args, **kwargs)
