"""All that is known of a data set, one after the other or many at once."""

import dataclasses

import numpy as np
import pytest
import torch

from pymc_amortized.errors import InvalidDataError
from pymc_amortized.inference.answer import Answering, datasets_at_once
from pymc_amortized.memory import MemoryBudget
from tests.trained import data


def wanted_of(posterior, **options):
    return posterior._delivery.ask(50, 2, "importance", **options)


def test_errors_take_the_places_of_answers(trained):
    _, posterior = trained("mixture")
    inference = posterior.inference
    error = InvalidDataError("not to be read")
    datasets = [inference.read({"y": data(seed=1)}), error, inference.read({"y": data(seed=2)})]
    pieces = list(
        Answering(inference).answer_many(
            datasets, wanted_of(posterior), torch.Generator().manual_seed(0)
        )
    )
    found = dict(pair for piece in pieces for pair in piece)
    assert sorted(found) == [0, 1, 2]
    assert found[1] is error
    assert found[0].dataset is datasets[0]
    assert len(found[2].draws) == 100
    assert set(found[2].indicators) == {"y_component"}


def test_only_indicators_that_are_asked_for_are_drawn(trained):
    _, posterior = trained("mixture")
    dataset = posterior.inference.read(None)
    answer = Answering(posterior.inference).answer(
        dataset,
        wanted_of(posterior, var_names=["mu"]),
        torch.Generator().manual_seed(0),
        own_data=True,
    )
    assert answer.indicators == {}
    assert answer.own_data


@pytest.mark.parametrize("entries", [2**16, 2**23])
def test_fewer_data_sets_are_worked_on_together_where_memory_is_small(trained, entries):
    _, posterior = trained("mixture")
    problem = dataclasses.replace(posterior.inference.problem, memory=MemoryBudget(entries))
    few, many = (datasets_at_once(problem, n) for n in (100_000, 100))
    assert 1 <= few <= many
    assert many == max(1, entries // (128 * 4_000))


def test_pieces_change_no_answer(trained):
    """One data set at a time, and all together: each has its own exact answer."""
    _, posterior = trained("normal_mean")
    inference = posterior.inference
    small = dataclasses.replace(
        inference, problem=dataclasses.replace(inference.problem, memory=MemoryBudget(1))
    )
    sets = [data(seed=s) for s in range(3)]
    for one in (inference, small):
        answering = Answering(one)
        datasets = [one.read({"y": y}) for y in sets]
        wanted = posterior._delivery.ask(500, 1, "importance")
        pieces = list(answering.answer_many(datasets, wanted, torch.Generator().manual_seed(0)))
        assert len(pieces) == (2 if one is inference else 4)
        for place, answer in (pair for piece in pieces for pair in piece):
            exact = sets[place].sum() / (len(sets[place]) + 1 / 4)
            error = 1 / np.sqrt(len(sets[place]) + 1 / 4) / np.sqrt(500)
            assert abs(float(answer.draws.parameters["mu"].mean()) - exact) < 6 * error
