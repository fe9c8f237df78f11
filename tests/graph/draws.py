"""Distributions with parameters, and draws of them in a batch and by PyMC."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import torch

from pymc_amortized.compat import reference_mode
from pymc_amortized.graph.backend import BatchedGraph

NUM_DRAWS = 20_000
SCALAR = {
    "Uniform": (lambda a, b, **k: pm.Uniform.dist(a, b, **k), (-1.0, 3.0)),
    "Normal": (lambda a, b, **k: pm.Normal.dist(a, b, **k), (1.0, 2.0)),
    "HalfNormal": (lambda s, **k: pm.HalfNormal.dist(s, **k), (2.0,)),
    "LogNormal": (lambda a, b, **k: pm.LogNormal.dist(a, b, **k), (0.5, 0.7)),
    "Exponential": (lambda lam, **k: pm.Exponential.dist(lam, **k), (2.0,)),
    "Gamma": (lambda a, b, **k: pm.Gamma.dist(a, b, **k), (0.7, 2.0)),
    "InverseGamma": (lambda a, b, **k: pm.InverseGamma.dist(a, b, **k), (3.0, 2.0)),
    "ChiSquared": (lambda nu, **k: pm.ChiSquared.dist(nu, **k), (3.0,)),
    "Beta": (lambda a, b, **k: pm.Beta.dist(a, b, **k), (0.5, 2.0)),
    "Kumaraswamy": (lambda a, b, **k: pm.Kumaraswamy.dist(a, b, **k), (2.0, 3.0)),
    "StudentT": (lambda n, m, s, **k: pm.StudentT.dist(n, m, sigma=s, **k), (4.0, 1.0, 2.0)),
    "HalfStudentT": (lambda n, s, **k: pm.HalfStudentT.dist(n, sigma=s, **k), (4.0, 2.0)),
    "SkewStudentT": (
        lambda a, b, **k: pm.SkewStudentT.dist(a=a, b=b, mu=0.5, sigma=1.5, **k),
        (3.0, 5.0),
    ),
    "Cauchy": (lambda a, b, **k: pm.Cauchy.dist(a, b, **k), (1.0, 2.0)),
    "HalfCauchy": (lambda b, **k: pm.HalfCauchy.dist(b, **k), (2.0,)),
    "Laplace": (lambda a, b, **k: pm.Laplace.dist(a, b, **k), (1.0, 2.0)),
    "AsymmetricLaplace": (
        lambda kappa, **k: pm.AsymmetricLaplace.dist(kappa=kappa, mu=0.0, b=1.0, **k),
        (2.0,),
    ),
    "Logistic": (lambda a, b, **k: pm.Logistic.dist(a, b, **k), (1.0, 2.0)),
    "LogitNormal": (lambda a, b, **k: pm.LogitNormal.dist(a, b, **k), (1.0, 0.5)),
    "Gumbel": (lambda a, b, **k: pm.Gumbel.dist(a, b, **k), (1.0, 2.0)),
    "Moyal": (lambda a, b, **k: pm.Moyal.dist(a, b, **k), (1.0, 2.0)),
    "Pareto": (lambda a, m, **k: pm.Pareto.dist(a, m, **k), (3.0, 2.0)),
    "Weibull": (lambda a, b, **k: pm.Weibull.dist(a, b, **k), (1.5, 2.0)),
    "Triangular": (
        lambda lo, c, up, **k: pm.Triangular.dist(lower=lo, c=c, upper=up, **k),
        (-1.0, 0.5, 3.0),
    ),
    "SkewNormal": (
        lambda a, m, s, **k: pm.SkewNormal.dist(mu=m, sigma=s, alpha=a, **k),
        (4.0, 1.0, 2.0),
    ),
    "ExGaussian": (
        lambda m, s, nu, **k: pm.ExGaussian.dist(mu=m, sigma=s, nu=nu, **k),
        (1.0, 0.5, 2.0),
    ),
    "Wald": (
        lambda m, lam, **k: pm.Wald.dist(mu=m, lam=lam, alpha=0.3, **k),
        (1.0, 2.0),
    ),
    "VonMises": (lambda m, kappa, **k: pm.VonMises.dist(m, kappa, **k), (2.5, 1.5)),
    "Rice": (lambda nu, s, **k: pm.Rice.dist(nu=nu, sigma=s, **k), (1.0, 2.0)),
    "TruncatedNormal": (
        lambda m, s, **k: pm.TruncatedNormal.dist(m, s, lower=2.0, upper=5.0, **k),
        (0.0, 1.0),
    ),
    "Truncated": (
        lambda a, **k: pm.Truncated.dist(pm.Gamma.dist(a, 1.0), lower=0.5, upper=3.0, **k),
        (2.0,),
    ),
    "TruncatedPoisson": (
        lambda m, **k: pm.Truncated.dist(pm.Poisson.dist(m), lower=2, upper=6, **k),
        (1.5,),
    ),
    "Censored": (
        lambda m, **k: pm.Censored.dist(pm.Normal.dist(m, 1.0), lower=-1.0, upper=1.0, **k),
        (0.3,),
    ),
    "Bernoulli": (lambda p, **k: pm.Bernoulli.dist(p, **k), (0.3,)),
    "Binomial": (lambda p, **k: pm.Binomial.dist(9, p, **k), (0.3,)),
    "BetaBinomial": (
        lambda a, b, **k: pm.BetaBinomial.dist(alpha=a, beta=b, n=8, **k),
        (2.0, 1.0),
    ),
    "Poisson": (lambda m, **k: pm.Poisson.dist(m, **k), (3.5,)),
    "NegativeBinomial": (
        lambda m, a, **k: pm.NegativeBinomial.dist(mu=m, alpha=a, **k),
        (4.0, 1.5),
    ),
    "ZeroInflatedPoisson": (
        lambda psi, m, **k: pm.ZeroInflatedPoisson.dist(psi, m, **k),
        (0.6, 3.0),
    ),
    "ZeroInflatedBinomial": (
        lambda psi, p, **k: pm.ZeroInflatedBinomial.dist(psi, 8, p, **k),
        (0.6, 0.4),
    ),
    "ZeroInflatedNegativeBinomial": (
        lambda psi, m, **k: pm.ZeroInflatedNegativeBinomial.dist(psi=psi, mu=m, alpha=2.0, **k),
        (0.6, 3.0),
    ),
    "Geometric": (lambda p, **k: pm.Geometric.dist(p, **k), (0.3,)),
    "DiscreteUniform": (lambda: None, ()),
    "DiscreteWeibull": (lambda q, b, **k: pm.DiscreteWeibull.dist(q, b, **k), (0.8, 1.2)),
    "Categorical": (
        lambda a, b, **k: pm.Categorical.dist(p=pt.stack([a, b, 1 - a - b]), **k),
        (0.2, 0.3),
    ),
    "HurdlePoisson": (lambda psi, m, **k: pm.HurdlePoisson.dist(psi, m, **k), (0.6, 2.0)),
    "HurdleGamma": (
        lambda psi, a, **k: pm.HurdleGamma.dist(psi, a, 1.0, **k),
        (0.6, 2.0),
    ),
    "HurdleLogNormal": (
        lambda psi, m, **k: pm.HurdleLogNormal.dist(psi, m, 0.5, **k),
        (0.6, 0.3),
    ),
    "NormalMixture": (
        lambda a, **k: pm.NormalMixture.dist([0.3, 0.7], pt.stack([a, -a]), 0.5, **k),
        (2.0,),
    ),
    "DiracDelta": (lambda c, **k: pm.DiracDelta.dist(c, **k), (2.0,)),
}
SCALAR["DiscreteUniform"] = (
    lambda a, b, **k: pm.DiscreteUniform.dist(a.astype("int64"), b.astype("int64"), **k),
    (-2.0, 4.0),
)


def batched_draws(dist, parameters, shape=None):
    """Draw one value for each of many data sets, each with parameters of its own."""
    inputs = [pt.dscalar() for _ in parameters]
    variable = dist(*inputs) if shape is None else dist(*inputs, shape=shape)
    values = [torch.full((NUM_DRAWS,), p, dtype=torch.float64) for p in parameters]
    generator = torch.Generator().manual_seed(5)
    [drawn] = BatchedGraph(inputs, [variable])(values, batch=NUM_DRAWS, generator=generator)
    assert drawn.shape[0] == NUM_DRAWS
    return drawn.numpy()


def pymc_draws(variable, draws=1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(
            pm.draw(variable, draws=draws, random_seed=6, mode=reference_mode()), dtype=float
        )
