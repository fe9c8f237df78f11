"""What all kinds of indicators given data have in common."""

import math

import numpy as np
import pytest
import torch

from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.conditional import mean_divergence, smallest_type
from pymc_amortized.inference.indicators.kinds import condition_on_data
from tests.inference.untrained import Y, two_components, untrained


@pytest.mark.parametrize(
    ("support", "expected"),
    [
        ((0, 1), torch.int8),
        ((0, 127), torch.int8),
        ((0, 128), torch.int16),
        ((-127, 5), torch.int8),
        ((-128, 5), torch.int16),  # a filler below all of them has to fit as well
        ((0, 40_000), torch.int32),
        ((0, 2**31), torch.int64),
    ],
)
def test_types_hold_all_values_and_a_filler(support, expected):
    assert smallest_type(support) == expected


def test_the_divergence_is_the_average_of_the_kullback_leibler_divergences():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(3), (4, 5)), rng.dirichlet(np.ones(3), (4, 5))
    found = mean_divergence(torch.as_tensor(p).log(), torch.as_tensor(q).log())
    categorical = torch.distributions.Categorical
    pairs = (categorical(torch.as_tensor(p)), categorical(torch.as_tensor(q)))
    assert math.isclose(found, float(torch.distributions.kl_divergence(*pairs).mean()))


def test_values_of_probability_zero_do_not_count():
    exact = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]).log()
    network = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
    assert math.isclose(mean_divergence(exact, network), math.log(2) / 2, rel_tol=1e-6)
    assert mean_divergence(exact, exact) == 0


def draws_of(problem, number):
    parameters = problem.simulator.sample_parameters(number, 3)
    vector = problem.space.unconstrain(parameters)
    flat = torch.zeros(number)
    return Draws(parameters, vector, None, flat, flat > 0, "network")


def test_exact_and_learned_probabilities_are_compared_under_a_few_draws():
    inference = untrained(two_components())
    problem, [spec] = inference.problem, inference.problem.spec.indicators
    draws, dataset = draws_of(problem, 50), inference.read(None)
    conditional = condition_on_data(problem, inference.estimator, spec, dataset)
    few = conditional.draws_for_gap(draws)
    assert 0 < len(few) < 50
    assert torch.equal(few.vector, draws.vector[: len(few)])
    gap = conditional.draw(draws, torch.Generator().manual_seed(0)).gap
    mu = few.parameters["mu"].unsqueeze(1)
    exact = torch.distributions.Normal(mu, 1.0).log_prob(torch.as_tensor(Y).unsqueeze(-1))
    units = conditional.units.repeat(len(few))
    network = inference.estimator.classify(0, units, conditional.features(few))[:, :, 0]
    expected = mean_divergence(exact.log_softmax(-1), network.detach().double())
    assert expected > 0.01
    assert math.isclose(gap, expected, rel_tol=1e-5)


def test_nothing_is_compared_unless_both_exist():
    inference = untrained(two_components())
    problem, [spec] = inference.problem, inference.problem.spec.indicators
    draws, dataset = draws_of(problem, 5), inference.read(None)
    for some_problem, estimator in (
        (problem, None),
        (problem.with_exact(None), inference.estimator),
    ):
        conditional = condition_on_data(some_problem, estimator, spec, dataset)
        assert conditional.draws_for_gap(draws) is None
        generator = torch.Generator().manual_seed(0)
        assert math.isnan(conditional.draw(draws, generator).gap)
