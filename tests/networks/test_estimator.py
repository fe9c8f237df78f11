"""Summary, posterior and classification networks with one loss, at random weights."""

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.build import build_estimator
from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import OWNER, make_units

NUM_DATASETS, NUM_SCORES, NUM_FEATURES = 20, 2, 5
SET = UnitShape(2, 1, 6, num_components=3, learns="units")
GROUPED = UnitShape(2, 10, 10, num_components=3, owner=OWNER, num_units=3, learns="units")
SEQUENCES = UnitShape(2, 1, 6, num_components=3, num_sequences=2, learns="units")
PATHS = UnitShape(2, 1, 6, num_components=3, num_sequences=2, learns="paths")
NETWORKS = pma.Networks(posterior=lambda *sizes: pma.MixtureDensity(*sizes, num_components=2))


def estimator_of(*shapes, num_scores=NUM_SCORES, networks=NETWORKS):
    return build_estimator(shapes, num_scores, NUM_FEATURES, networks).eval()


def batch_of(shape, num_units=None, num_rows=None, num_scores=NUM_SCORES):
    """The last row is in use in none of the data sets but the first two."""
    rows = shape.max_rows if num_rows is None else num_rows
    generator = torch.Generator().manual_seed(1)
    units = make_units(NUM_DATASETS, rows, 2)
    units.mask[2:, -1] = False
    codes = torch.randint(3, (NUM_DATASETS, num_units or rows, 1), generator=generator)
    return Batch(
        (units,),
        torch.randn(NUM_DATASETS, num_scores, generator=generator),
        torch.randn(NUM_DATASETS, NUM_FEATURES, generator=generator),
        {0: codes},
    )


def log_of(log_p, codes):
    """Return log probabilities (B, N) of values (B, N), given those of all values (B, N, K)."""
    return np.take_along_axis(log_p.numpy(), codes.numpy()[..., None], -1)[..., 0]


@torch.no_grad()
def test_losses_are_cross_entropies_without_padding():
    estimator, batch = estimator_of(SET), batch_of(SET)
    [units] = estimator.scaled(batch.units)
    log_q = estimator.log_prob(batch.scores, estimator.context([units]))
    log_q_z = estimator.classify(0, units, batch.features)[:, :, 0]
    expected = log_of(log_q_z, batch.codes[0][..., 0])[units.mask.numpy()].mean()
    found = estimator.losses(batch, torch.Generator().manual_seed(0))
    assert float(found["posterior"]) == pytest.approx(-float(log_q.mean()), rel=1e-5)
    assert float(found["classification"]) == pytest.approx(-expected, rel=1e-5)


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_of_many_rows_eight_of_each_data_set_stand_for_all(padded):
    """Without bias: 100 averages of 160 rows, against that of all rows."""
    estimator, batch = estimator_of(SET), batch_of(SET, num_rows=50)
    if not padded:
        batch.units[0].mask[:] = True
    [units] = estimator.scaled(batch.units)
    log_q = estimator.classify(0, units, batch.features)[:, :, 0]
    terms = log_of(log_q, batch.codes[0][..., 0])
    # As many rows of each data set, however many it has.
    in_use = [row[mask] for row, mask in zip(terms, units.mask.numpy(), strict=True)]
    expected = np.mean([row.mean() for row in in_use])
    generator = torch.Generator().manual_seed(0)
    found = [float(estimator.losses(batch, generator)["classification"]) for _ in range(100)]
    assert len(set(found)) > 95
    assert abs(np.mean(found) + expected) < 4 * np.std(found) / np.sqrt(100)


@torch.no_grad()
def test_units_of_several_rows_are_classified_once_each():
    estimator, batch = estimator_of(GROUPED), batch_of(GROUPED, num_units=3)
    [units] = estimator.scaled(batch.units)
    log_q = estimator.classify(0, units, batch.features)[:, :, 0]
    assert log_q.shape == (NUM_DATASETS, 3, 3)
    expected = log_of(log_q, batch.codes[0][..., 0]).mean()
    found = estimator.losses(batch)["classification"]
    assert float(found) == pytest.approx(-expected, rel=1e-5)


@torch.no_grad()
def test_states_are_learned_beyond_what_the_chain_says_of_them_where_something_was_observed():
    """Bayes' rule, with the network's emissions and the states' probabilities without data."""
    estimator, batch = estimator_of(SEQUENCES), batch_of(SEQUENCES)
    generator = torch.Generator().manual_seed(2)
    prior = torch.randn(NUM_DATASETS, 6, 3, generator=generator).log_softmax(-1)
    [table] = batch.units
    observed = torch.rand(NUM_DATASETS, 6, generator=generator) < 0.5
    table.values[..., -1] = observed.float()
    batch = Batch(batch.units, batch.scores, batch.features, batch.codes, {0: prior})
    [units] = estimator.scaled(batch.units)
    joint = estimator.classify(0, units, batch.features)[:, :, 0] + prior
    log_q = joint - joint.logsumexp(-1, keepdim=True)
    known = (table.mask & observed).numpy()
    found = estimator.losses(batch, torch.Generator().manual_seed(0))["classification"]
    expected = log_of(log_q, batch.codes[0][..., 0])[known].mean()
    assert float(found) == pytest.approx(-expected, rel=1e-5)


@torch.no_grad()
def test_paths_and_filtering_are_learned_together():
    """Twenty data sets of six time points are fewer than those that the loss looks at."""
    estimator, batch = estimator_of(PATHS), batch_of(PATHS)
    [units] = estimator.scaled(batch.units)
    codes = batch.codes[0][..., 0]
    filtered = log_of(estimator.filter_states(0, units, batch.features), codes).mean()
    parameters = estimator.parameter_scaling(
        Units(batch.features.unsqueeze(1), torch.ones(NUM_DATASETS, 1, dtype=torch.bool))
    ).values[:, 0]
    along_path, _ = estimator.path_networks["0"](units, parameters, codes)
    found = estimator.losses(batch)["classification"]
    assert float(found) == pytest.approx(-float(along_path.mean()) - filtered, rel=1e-5)


@torch.no_grad()
def test_densities_of_draws_are_those_of_single_scores():
    estimator = estimator_of(SET)
    context = estimator.context(estimator.scaled(batch_of(SET).units))
    draws = estimator.sample(context, 3, torch.Generator().manual_seed(0))
    assert draws.shape == (3, NUM_DATASETS, NUM_SCORES)
    one_by_one = torch.stack([estimator.log_prob(scores, context) for scores in draws])
    assert torch.allclose(estimator.log_prob(draws, context), one_by_one, atol=1e-5)


@torch.no_grad()
def test_without_parameters_there_is_one_answer_whose_density_is_one():
    estimator, batch = estimator_of(SET, num_scores=0), batch_of(SET, num_scores=0)
    context = estimator.context(estimator.scaled(batch.units))
    draws = estimator.sample(context, 4)
    assert estimator.has_density
    assert draws.shape == (4, NUM_DATASETS, 0)
    assert torch.equal(estimator.log_prob(draws, context), torch.zeros(4, NUM_DATASETS))
    assert float(estimator.losses(batch)["posterior"]) == 0


def test_losses_reach_weights_of_their_own_part_alone():
    """Each weight is in one part; no term of the loss has gradients in two."""
    estimator, batch = estimator_of(SET, networks=None), batch_of(SET)
    of_posterior, of_indicators = estimator.independent_weights()
    together = [id(x) for x in (*of_posterior, *of_indicators)]
    assert sorted(together) == sorted(id(x) for x in estimator.parameters())
    for term, own, others in (
        ("posterior", of_posterior, of_indicators),
        ("classification", of_indicators, of_posterior),
    ):
        estimator.zero_grad()
        estimator.losses(batch, torch.Generator().manual_seed(0))[term].backward()
        assert any(x.grad is not None and bool(x.grad.any()) for x in own)
        assert not any(x.grad is not None and bool(x.grad.any()) for x in others)


@torch.no_grad()
def test_units_of_measurement_do_not_matter():
    """Scales are fitted to simulations: metres or kilometres, after 10 or 20 are added."""
    batch = batch_of(SET)
    [units] = batch.units
    factor, shift = torch.tensor([1e3, 1e-2]), torch.tensor([10.0, 20.0])
    other = Batch(
        (Units((units.values.double() * factor + shift), units.mask),),
        batch.scores,
        batch.features.double() * 50 - 3,
        batch.codes,
    )
    found = []
    for each in (batch, other):
        estimator = estimator_of(SET)
        estimator.fit_scaling(each)
        losses = estimator.losses(each, torch.Generator().manual_seed(0))
        found.append([float(x) for x in losses.values()])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
