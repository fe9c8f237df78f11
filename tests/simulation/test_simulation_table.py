"""Tables of simulations: drawn in rounds, split, joined."""

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.inference.assembly import lay_out
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.training_data import SimulationSource
from tests.networks.resizable_chains import resizable
from tests.trained import data, normal_mean

pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.fixture(scope="module")
def source():
    simulator = pma.compile_simulator(normal_mean(data()), device="cpu")
    space = simulator.parameters.with_normal_scores(simulator.sample(1_000, 0).parameters)
    layout = lay_out(simulator, None)
    return SimulationSource(simulator, layout, space)


@pytest.fixture(scope="module")
def table(source):
    return SimulationTable(source, *source.draw_frames(100, 1))


def identity(batch):
    return batch.scores[:, 0].tolist()


def test_rounds_hold_each_data_set_once(table):
    assert table.steps_per_round(30) == 3
    rounds = [
        [x for i in range(3) for x in identity(table.batch(3 * r + i, 30, seed=5))]
        for r in range(2)
    ]
    for one in rounds:
        assert len(set(one)) == 90
    assert rounds[0] != rounds[1]
    assert identity(table.batch(4, 30, seed=5)) == rounds[1][30:60]
    assert identity(table.batch(4, 30, seed=6)) != rounds[1][30:60]


def test_a_batch_belongs_together(table):
    whole = table.draw(100, 0)
    where = {score: row for row, score in enumerate(identity(whole))}
    batch = table.batch(1, 20, seed=2)
    rows = [where[score] for score in identity(batch)]
    assert torch.equal(batch.units[0].values, whole.units[0].values[rows])
    assert torch.equal(batch.features, whole.features[rows])


def test_a_table_that_is_too_large_is_laid_out_piece_by_piece(table):
    small = SimulationTable(table, table.parameters, table.frames, table.codes)
    small.datasets_at_once = 50
    one, other = small.batch(2, 30, seed=5), table.batch(2, 30, seed=5)
    assert small._laid_out is None
    assert torch.equal(one.scores, other.scores)
    assert torch.equal(one.units[0].values, other.units[0].values)


def test_what_is_held_out_is_not_trained_on(table):
    training, held_out = table.split(0.1)
    assert (training.num_available, held_out.num_available) == (90, 10)
    seen = {x for step in range(20) for x in identity(training.batch(step, 45, seed=1))}
    assert len(seen) == 90
    assert not seen & set(identity(held_out.draw(10, 0)))


def test_there_are_no_more_than_there_are(table):
    assert len(table.draw(1_000, 3)) == 100
    pieces = [frames for _, frames, _ in table.pieces(1_000, 30, 3)]
    assert [len(frames) for frames in pieces] == [30, 30, 30, 10]
    values = torch.cat([frames.observations["y"] for frames in pieces])
    assert len(values.unique(dim=0)) == 100


def test_pieces_of_new_data_sets_are_as_many_as_asked_for(source):
    before = source.simulator.num_simulated
    assert [len(frames) for _, frames, _ in source.pieces(70, 30, 3)] == [30, 30, 10]
    assert source.simulator.num_simulated == before + 70


def test_sequences_of_several_lengths_are_joined():
    simulator, layout, _ = resizable("plain")
    source = SimulationSource(simulator, layout, simulator.parameters)
    parts = [SimulationTable(source, *source.draw_frames(20, seed)) for seed in (1, 2, 3)]
    whole = SimulationTable.joined(parts)
    assert whole.num_available == 60
    start = 0
    for part in parts:
        [found], [expected] = (layout.units(x.frames) for x in (whole, part))
        rows = slice(start, start + 20)
        length = expected.mask.shape[1]
        assert torch.equal(found.mask[rows, :length], expected.mask)
        assert not found.mask[rows, length:].any()
        known = expected.mask.unsqueeze(-1)
        assert torch.equal(
            (found.values[rows, :length] * known).nan_to_num(),
            (expected.values * known).nan_to_num(),
        )
        codes = part.codes[0]
        assert torch.equal(whole.codes[0][rows, : codes.shape[1]], codes)
        start += 20


def test_simulations_become_the_same_table(source):
    drawn = source.simulator.sample(50, np.random.default_rng(4))
    table = SimulationTable.of_simulation(source, drawn)
    expected = SimulationTable(source, *source.draw_frames(50, 4))
    for one, other in zip(table.draw(50, 0).units, expected.draw(50, 0).units, strict=True):
        assert torch.equal(one.values, other.values)
        assert torch.equal(one.mask, other.mask)
    assert torch.equal(table.draw(50, 0).scores, expected.draw(50, 0).scores)
