"""How observed variables respond to what they are given."""

import math

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.reading.completion import complete_model
from pymc_amortized.model.reading.response import (
    Response,
    Responses,
    differs,
    entry_shape,
    observation_inputs,
    response_of_indicator,
)
from tests.cases import BY_NAME, MASK, N, Y

MU = torch.tensor([[-1.0, 2.0], [0.5, 0.7], [3.0, -2.0]], dtype=torch.float64)
Z = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]])
VALUES = torch.as_tensor(np.random.default_rng(0).normal(size=(3, N)))
DRAWS = {"mu": MU, "z": Z, "y": VALUES}


def explicit(observed=Y):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.3, shape=N)
        pm.Normal("y", mu[z], 0.5, observed=observed)
    return model


def response_of(model, draws=DRAWS, name="y", **options):
    complete = complete_model(model)
    [observation] = [o for o in complete.observations if o.name == name]
    return Response(complete, observation, draws, **options)


def normal(values, means, sd=0.5):
    return stats.norm(np.asarray(means), sd).logpdf(np.asarray(values))


def test_the_response_is_the_log_density_of_each_entry():
    [found] = response_of(explicit())({})
    assert found.shape == (3, N, 1)
    np.testing.assert_allclose(found[..., 0], normal(VALUES, MU.gather(1, Z)))


def test_what_is_given_takes_the_place_of_the_draws():
    response = response_of(explicit())
    rows = torch.tensor([2, 0])
    [found] = response({"z": torch.zeros(1, N, dtype=torch.int64)}, rows=rows)
    np.testing.assert_allclose(found[..., 0], normal(VALUES[rows], MU[rows, :1]))
    [found] = response({"mu": MU + 1}, value=VALUES - 1)
    np.testing.assert_allclose(found[..., 0], normal(VALUES - 1, (MU + 1).gather(1, Z)))


def test_a_change_of_one_unit_shows_at_its_entries_alone():
    response = response_of(explicit())
    [before] = response({})
    changed = Z.clone()
    changed[:, 3] = 1 - changed[:, 3]
    [after] = response({"z": changed})
    assert differs(before, after).tolist() == [[False, False, False, True, False]] * 3


def test_a_mixture_responds_by_its_weights_and_components():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.NormalMixture("y", [0.3, 0.7], mu, 0.5, observed=Y)
    weights, components = response_of(model, {"mu": MU, "y_component": Z, "y": VALUES})({})
    np.testing.assert_allclose(weights, np.broadcast_to([0.3, 0.7], (3, N, 2)))
    np.testing.assert_allclose(components, normal(VALUES[..., None], MU[:, None]))


def test_a_distribution_without_a_density_responds_by_its_parameters():
    def draw(location, scale, rng=None, size=None):
        return rng.normal(location, scale, size=size)

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.3, shape=N)
        pm.CustomDist("y", mu[z], 0.5, random=draw, observed=Y)
    location, scale = response_of(model)({})
    assert (location[..., 0] == MU.gather(1, Z)).all()
    assert (scale == 0.5).all()


def test_the_response_of_an_indicator_is_its_log_probability():
    complete = complete_model(explicit())
    response = response_of_indicator(complete, complete.indicators[0], DRAWS)
    [prior] = response({})
    assert prior.shape == (3, N, 1)
    np.testing.assert_allclose(prior[..., 0], stats.bernoulli(0.3).logpmf(Z.numpy()))
    [prior] = response({}, 1 - Z)
    np.testing.assert_allclose(prior[..., 0], stats.bernoulli(0.3).logpmf(1 - Z.numpy()))


def test_responses_are_made_once_with_the_data_behind_them():
    with pm.Model() as model:
        x = pm.Data("x", np.ones(N))
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.Normal("y", mu[0] * x + np.arange(N), 0.5, observed=Y)
    complete = complete_model(model)
    responses = Responses(complete, {"mu": MU, "y": VALUES})
    [observation] = complete.observations
    response = responses.of(observation)
    assert responses.of(observation) is response
    assert [x.tolist() for x in response.data.values()] == [[[1.0] * N], [list(range(N))]]
    [found] = response({})
    np.testing.assert_allclose(found[..., 0], normal(VALUES, MU[:, :1] + torch.arange(N)))


def test_covariates_can_be_given_by_variable():
    with pm.Model() as model:
        x = pm.Data("x", np.ones(N))
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.Normal("y", mu[0] * x, 0.5, observed=Y)
    complete = complete_model(model)
    response = Response(
        complete,
        complete.observations[0],
        {"mu": MU, "y": VALUES},
        {complete.data["x"]: np.ones(N)},
    )
    given = torch.as_tensor(np.random.default_rng(1).normal(size=(3, N)))
    [found] = response({complete.data["x"]: given})
    np.testing.assert_allclose(found[..., 0], normal(VALUES, MU[:, :1] * given))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("normal_mixture_ordered", (N,)),
        ("multivariate_components", (N,)),  # of points in the plane
        ("chains_in_parallel", (2, 4)),
        ("masked_explicit", (int((~MASK).sum()),)),
        ("groups_of_observations", (N,)),
    ],
)
def test_entries_have_the_shape_of_the_data_without_event_axes(name, expected):
    [observation] = complete_model(BY_NAME[name].model()).observations
    assert entry_shape(observation) == expected


def test_missing_values_have_no_response():
    with pytest.warns(Warning, match="impute|missing|masked"):
        model = explicit(np.ma.masked_array(Y, MASK))
    [found] = response_of(model)({})
    np.testing.assert_allclose(found[..., 0], normal(VALUES, MU.gather(1, Z))[:, ~MASK])


def test_inputs_are_parameters_indicators_and_other_observations():
    complete = complete_model(BY_NAME["several_observed_variables"].model())
    y, count = complete.observations
    names = [variable.name for variable in observation_inputs(complete, y)]
    assert names == ["w", "mu", "rate", "z"]
    assert [v.name for v in observation_inputs(complete, count)] == ["w", "mu", "rate", "z"]


def test_draws_that_the_model_does_not_name_are_refused():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        hidden = pm.Categorical.dist([0.5, 0.5], shape=N)
        pm.Normal("y", mu[hidden], 0.5, observed=Y)
    with pytest.raises(UnsupportedModelError, match=r"(?s)'y' .* none of them.*pm\.CustomDist"):
        response_of(model, {"mu": MU, "y": VALUES})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0 + 1e-14, False),
        (1.0, 1.0 + 1e-8, True),
        (math.nan, math.nan, False),
        (-math.inf, -math.inf, False),
        (-math.inf, math.inf, True),
        (math.nan, 0.0, True),
    ],
)
def test_responses_are_compared_up_to_rounding(one, other, expected):
    x, y = torch.zeros(1, 2, 3).double(), torch.zeros(1, 2, 3).double()
    x[0, 1, 2], y[0, 1, 2] = one, other
    assert differs(x, y).tolist() == [[False, expected]]


def test_pieces_are_all_draws_once_in_order():
    response = response_of(explicit())
    for num_runs in (1, 10**9):
        pieces = list(response.pieces(num_runs))
        assert torch.cat(pieces).tolist() == [0, 1, 2]
    assert [len(piece) for piece in pieces] == [1, 1, 1]
