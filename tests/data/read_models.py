"""Models with tables of units."""

import numpy as np
import pymc as pm

import pymc_amortized as pma

from pymc_amortized.data.layout import DataLayout

N = 10


def layouts(build, sizes=None):
    simulator = pma.compile_simulator(build(), device="cpu")
    return simulator, DataLayout(simulator.spec, simulator.covariates, sizes)


def scalar():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=np.zeros(N))
    return model


def regression(centered=False):
    with pm.Model() as model:
        x = pm.Data("x", np.linspace(0, 1, N))
        b = pm.Normal("b", 0, 1, shape=2)
        mean = (x - x.mean() if centered else x)[:, None] * b
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mean, sigma=1, observed=np.zeros(N))
    return model


def paired():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=N)
        pm.Normal("a", mu[z], 1, observed=np.zeros(N))
        pm.Normal("b", -mu[z], 1, observed=np.zeros(N))
    return model
