"""Simulations as networks are trained on them: codes, rows that are left out."""

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.inference.assembly import lay_out
from pymc_amortized.simulation.training_batches import codes_of
from pymc_amortized.simulation.training_data import SimulationSource
from tests.dwelling import dwelling
from tests.networks.resizable_chains import resizable

pytestmark = pytest.mark.usefixtures("interpreted")


def source_of(model, sizes=None):
    simulator = pma.compile_simulator(model, device="cpu")
    space = simulator.parameters.with_normal_scores(simulator.sample(500, 0).parameters)
    return SimulationSource(simulator, lay_out(simulator, sizes), space)


def clusters():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-3, 3], 1)
        z = pm.Bernoulli("z", 0.3, shape=20)
        pm.Normal("y", mu[z], 0.1, observed=np.zeros(20))
    return model


def test_codes_belong_to_their_rows_when_others_are_left_out():
    source = source_of(clusters(), {"y": (3, 7)})
    batch = source.draw(50, 1)
    [units], codes = batch.units, batch.codes[0][..., 0]
    assert units.mask.shape == codes.shape == (50, 7)
    assert bool((units.num_rows >= 3).all())
    near = (units.values[..., 0] > 0).long()
    assert torch.equal(near[units.mask], codes[units.mask])


def test_features_are_parameters_in_every_form():
    source = source_of(clusters())
    drawn = source.draw_frames(10, 1)
    batch = source.lay_out(drawn)
    scores, log_det = source.space.standardize(source.space.unconstrain(drawn[0]))
    assert torch.allclose(batch.scores.double(), scores, atol=1e-6)
    assert torch.equal(batch.features[:, -2:], drawn[0]["mu"])
    assert bool(torch.isfinite(log_det).all())


def test_states_of_a_chain_have_probabilities_without_data():
    simulator, layout, _ = resizable("plain")
    space = simulator.parameters.with_normal_scores(simulator.sample(500, 0).parameters)
    batch = SimulationSource(simulator, layout, space).draw(2_000, 1)
    log_p, codes = batch.log_states[0], batch.codes[0][..., 0]
    used = batch.units[0].mask
    assert torch.allclose(log_p.exp().sum(-1), torch.ones(()), atol=1e-5)
    expected = log_p.exp()[..., 1][used].double()
    error = codes[used].double() - expected
    # Time points of a sequence depend on each other: ten times what independent ones would show.
    assert abs(float(error.mean())) < 10 * float(expected.std() + 0.5) / len(error) ** 0.5


def test_states_that_had_not_occurred_are_refused():
    source = source_of(dwelling(np.zeros(30)))
    [table] = source.layout.tables
    support = table.indicator.support
    values = torch.full((2, 1, *table.indicator.units), support[0])
    assert codes_of(table, values).unique().tolist() == [0]
    values[1, 0, -1] = support[-1] + 4
    with pytest.raises(UnsupportedModelError, match=rf"got {support[-1] + 4}, .* too rare"):
        codes_of(table, values)
