"""A posterior that is known, in more dimensions than differences of particles serve."""

import numpy as np
import pymc as pm
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws

AT = torch.zeros(1, dtype=torch.long)
BRIEF = pma.TrainingConfig(steps=1, tolerance=None, num_validation=32, batch_size=32)


def straight_lines(num_units=60, num_covariates=13):
    """A regression with its posterior means, standard deviations, and evidence."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(num_units, num_covariates))
    y = x @ rng.normal(size=num_covariates) + rng.normal(size=num_units)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=num_covariates)
        pm.Normal("y", pm.math.dot(pm.Data("x", x), b), 1, observed=y)
    precision = np.eye(num_covariates) + x.T @ x
    mean = np.linalg.solve(precision, x.T @ y)
    marginal = stats.multivariate_normal(np.zeros(num_units), np.eye(num_units) + x @ x.T)
    return model, mean, np.sqrt(np.diag(np.linalg.inv(precision))), marginal.logpdf(y)


def confirmation_of(posterior, seed=1):
    inference = posterior.inference
    generator = torch.Generator().manual_seed(seed)
    weighted = WeightedDraws(
        inference, [inference.read(None)], 1_000, generator, pma.AcceptanceRule()
    )
    return Confirmation(weighted)
