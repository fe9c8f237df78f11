"""Answers, as flat draws."""

import numpy as np


def flat(idata, name):
    values = np.asarray(idata.posterior[name])
    return values.reshape(-1, *values.shape[2:])


def sample(posterior, *args, **kwargs):
    kwargs.setdefault("random_seed", 1)
    return posterior.sample(*args, **kwargs)
