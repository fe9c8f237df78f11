"""Bayesian mixtures and hidden Markov models in PyMC, answered at once."""

from pymc_amortized.compile.graph import batch_rule
from pymc_amortized.compile.random import sampler
from pymc_amortized.compile.spec import ModelSpec
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.simulator import Simulation, Simulator, compile_simulator

__version__ = "0.1.0"

__all__ = [
    "ModelSpec",
    "ParameterSpace",
    "Simulation",
    "Simulator",
    "batch_rule",
    "compile_simulator",
    "sampler",
]
