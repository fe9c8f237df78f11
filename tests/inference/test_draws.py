"""Draws of parameters, and some of them."""

import pytest
import torch

from pymc_amortized.inference.draws import Draws


def five_draws(log_joint=True):
    mu = torch.arange(10.0).reshape(5, 2)
    return Draws(
        parameters={"mu": mu, "sigma": torch.arange(5.0)},
        vector=torch.cat([mu, torch.arange(5.0).log().unsqueeze(1)], dim=1),
        log_joint=-torch.arange(5.0) if log_joint else None,
        log_q=torch.full((5,), -2.0),
        diverging=torch.tensor([False, True, False, False, True]),
        rung="adaptive",
        accepted=True,
        pareto_k=0.3,
        seconds={"adaptive": 0.5},
    )


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(1, 3), [1, 2]),
        (torch.tensor([4, 0, 4]), [4, 0, 4]),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
    ],
    ids=["slice", "places", "mask"],
)
def test_some_of_the_draws(index, rows):
    every = five_draws()
    some = every.select(index)
    assert len(some) == len(rows)
    for name in ("vector", "log_joint", "log_q", "diverging", "log_weight"):
        expected = [getattr(every, name)[row].tolist() for row in rows]
        assert getattr(some, name).tolist() == expected
    assert some.parameters["mu"].tolist() == [[2.0 * r, 2.0 * r + 1] for r in rows]
    assert some.parameters["sigma"].tolist() == rows
    known = ("rung", "accepted", "pareto_k", "seconds")
    assert [getattr(some, x) for x in known] == [getattr(every, x) for x in known]


def test_weights_are_those_of_the_network_as_a_proposal():
    draws = five_draws()
    assert len(draws) == 5
    assert draws.log_weight.tolist() == [2.0, 1.0, 0.0, -1.0, -2.0]


def test_without_a_density_there_are_no_weights():
    draws = five_draws(log_joint=False)
    assert draws.log_weight is None
    some = draws.select(slice(2))
    assert some.log_joint is None
    assert some.log_weight is None
    assert len(some) == 2
