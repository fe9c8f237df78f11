"""Models, laid out by hand."""

import numpy as np
import pymc as pm

import pymc_amortized as pma

from pymc_amortized.data.layout import DataLayout

X = np.array([1.0, 2.0, 3.0, 4.0])
BRIEF = pma.TrainingConfig(steps=2, tolerance=None, num_validation=32, batch_size=32)
FIT = {"training": BRIEF, "random_seed": 1, "progressbar": False, "cache": False}
DRAW = {"draws": 5, "chains": 1, "correction": "none", "random_seed": 1}


def built(define):
    with pm.Model() as model:
        define()
    return model


def layout_of(define, sizes=None):
    simulator = pma.compile_simulator(built(define), device="cpu")
    return simulator, DataLayout(simulator.spec, simulator.covariates, sizes)
