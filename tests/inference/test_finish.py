"""From weighted draws to answers: what is kept, what is said of it, and what it cost."""

import time

import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import InvalidDataError
from pymc_amortized.importance.weights import weigh
from pymc_amortized.inference.correction.finish import Finish
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from tests.inference.untrained import poisson, untrained

SETS = ({"y": [1, 2, 0, 1, 3]}, {"y": [4, 2, 5, 1, 3]})


@pytest.fixture(scope="module")
def weighted():
    inference = untrained(poisson())
    datasets = [inference.read(data) for data in SETS]
    generator = torch.Generator().manual_seed(1)
    return WeightedDraws(inference, datasets, 500, generator, pma.AcceptanceRule())


BOTH = torch.arange(2)


def answered(weighted, confirmed_by, *, confirms):
    finish = Finish(weighted, confirms=confirms)
    for at, pool, weights in weighted.adapt(BOTH, weighted.from_network(BOTH, 4_000)):
        finish.from_weighted(BOTH[at], pool, weights, "adaptive", confirmed_by)
    return finish.answers


@pytest.mark.parametrize(
    ("confirmed_by", "confirms", "accepted"),
    [
        ("bridge", True, True),
        ("search", True, True),
        ("nothing", False, True),
        ("nothing", True, False),
        ("neither", True, False),
        ("neither", False, False),
    ],
)
def test_what_is_accepted(weighted, confirmed_by, confirms, accepted):
    """Weights are good enough; whether that will do depends on what confirms them."""
    answers = answered(weighted, confirmed_by, confirms=confirms)
    assert sorted(answers) == [0, 1]
    for draws in answers.values():
        assert draws.accepted is accepted
        assert draws.confirmed_by == confirmed_by
        assert bool(torch.tensor(draws.log_evidence).isfinite()) is accepted
        assert draws.importance_ess > 400
        assert len(draws) == 500


def test_draws_are_those_of_their_data_set(weighted):
    """Rates are Gamma(2 + sum, 1 + 5)."""
    answers = answered(weighted, "nothing", confirms=False)
    for i, data in enumerate(SETS):
        rate = answers[i].parameters["rate"]
        mean = (2 + sum(data["y"])) / 6
        # Of 400 draws at least.
        assert abs(float(rate.mean()) - mean) < 4.5 * (mean / 6 / 400) ** 0.5


def test_draws_of_the_network_are_not_judged(weighted):
    finish = Finish(weighted, confirms=False)
    finish.from_network(BOTH)
    for draws in finish.answers.values():
        assert draws.accepted is None
        assert (draws.rung, draws.num_distinct) == ("network", 500)


def test_impossible_data_are_answered_so(weighted):
    finish = Finish(weighted, confirms=False)
    finish.impossible(BOTH[1:], 4_000, {"'y' at": list(range(12))})
    [(i, error)] = finish.answers.items()
    assert i == 1
    assert isinstance(error, InvalidDataError)
    assert "4,000 draws" in str(error)
    assert "'y' at [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], and more" in str(error)


def test_seconds_inside_of_others_are_counted_once(weighted):
    finish = Finish(weighted, confirms=True)
    with finish.time("adaptive", BOTH):
        time.sleep(0.04)
        with finish.time("confirmation", BOTH[:1]):
            time.sleep(0.08)
    with finish.time("confirmation", BOTH[:1]):
        time.sleep(0.08)
    one, two = finish.seconds[0], finish.seconds[1]
    assert 0.16 <= one["confirmation"] < 0.3
    assert one["adaptive"] == two["adaptive"] < 0.08
    assert "confirmation" not in two


def test_weights_of_the_network_are_remembered(weighted):
    pool = weighted.from_network(BOTH, 4_000)
    finish = Finish(weighted, confirms=False)
    finish.network_pareto_k[BOTH] = weigh(pool.log_weights).pareto_k
    finish.from_weighted(BOTH, pool, weigh(pool.log_weights), "importance", "nothing")
    for i, draws in finish.answers.items():
        assert draws.network_pareto_k == float(finish.network_pareto_k[i])
