"""Data sets of any size, simulated as networks are trained on them."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
)
from pymc_amortized.simulation.training_data import SimulationSource
from tests.data.laid_out import DRAW, FIT, X
from tests.networks.resizable_chains import BUILT, resizable

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning"),
]


@pytest.mark.parametrize("name", BUILT)
def test_simulated_sequences_of_any_length(name):
    """Transitions are as frequent at the seams of frames as elsewhere, and y belongs to z."""
    simulator, layout, _ = resizable(name)
    table = layout.tables[0]
    source = SimulationSource(simulator, layout, simulator.parameters)
    parameters, frames, codes = source.draw_frames(20_000, 1)
    units = layout.units(frames)[0]
    z, mask = codes[0][..., 0], units.mask
    lengths = mask.sum(1)
    assert int(lengths.min()) >= 2
    assert int(lengths.max()) == 40
    assert bool((mask[:, :-1] >= mask[:, 1:]).all())
    order = table.indicator.order
    log_P = simulator.indicator_distribution("z").log_transition(list(parameters.values()))
    P = log_P.exp()
    for t in (order, 7, 8, 9, 16, 30):
        long = lengths > t
        index = [torch.arange(len(z))[long], *(z[long, t - order + lag] for lag in range(order))]
        expected = P[tuple(index)][:, 1]
        found = z[long, t].double()
        error = (found - expected).mean() / (expected * (1 - expected)).mean().sqrt()
        assert abs(float(error)) < 4 / np.sqrt(int(long.sum()))
    # Observations are 1 wide around the mean of their state.
    y = units.values[..., 3 if name == "replicates" else 0]  # after three masks
    mu = parameters["mu"]
    mean = mu[:, None] + 2.5 * z if mu.ndim == 1 else mu.gather(1, z)
    known = mask & ~y.isnan()
    residuals = (y - mean)[known]
    assert abs(float(residuals.mean())) < 4 / np.sqrt(len(residuals))
    assert abs(float(residuals.std()) - 1) < 4 / np.sqrt(2 * len(residuals))
    assert bool((units.values[..., -1] == known).all())


def test_priors_that_reach_the_edge_of_their_support():
    with pm.Model() as model:
        concentration = pm.Gamma("concentration", 2, 2)
        v = pm.Beta("v", 1, concentration, shape=2)
        w = pt.concatenate([v, [1.0]]) * pt.concatenate([[1.0], pt.cumprod(1 - v)])
        mu = pm.Normal("mu", 0, 1, shape=3)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=X)
    simulator = pma.compile_simulator(model, device="cpu")
    v = simulator.sample(20_000, 1).parameters["v"]
    assert bool((v == 1).any())  # so that the test tests something
    config = pma.TrainingConfig(steps=40, tolerance=None, num_validation=512, batch_size=512)
    posterior = pma.fit(model, **{**FIT, "training": config})
    assert posterior.record.skipped == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        assert np.isfinite(posterior.sample(**DRAW).sample_stats["lp"]).all()


def test_missing_units_have_the_prior_of_their_own_covariates():
    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 0.1, size=size)

    with pm.Model() as model:
        x = pm.Data("x", np.linspace(-1, 1, 4))
        b = pm.Normal("b", 0, 0.01)
        z = pm.Bernoulli("z", pm.math.sigmoid(b + 3 * x), shape=4)
        pm.CustomDist("y", 2.0 * z, random=draw, observed=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no density, and no torch for numpy's draws
        posterior = pma.fit(model, sizes={"y": (2, 8)}, **FIT)
        given = {"y": np.ma.array(np.ones(6), mask=[0, 1, 0, 0, 0, 0]), "x": np.full(6, 0.4)}
        probabilities = posterior.indicator_probabilities(given, random_seed=1)["z"]
    assert abs(float(probabilities[1, 1]) - 1 / (1 + np.exp(-1.2))) < 0.01
