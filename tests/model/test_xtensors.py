"""Models of ``pymc.dims`` are those that are written without dims."""

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.reading.xtensors import without_xtensors
from tests.refused import Own

pytestmark = pytest.mark.usefixtures("interpreted")

NUM_UNITS = 12
X = np.linspace(-1, 1, NUM_UNITS)
Y = X**2 - 0.5
COORDS = {"unit": range(NUM_UNITS), "group": ["a", "b"]}


def with_dims():
    with pm.Model(coords=COORDS) as model:
        w = pmd.Dirichlet("w", pmd.as_xtensor(np.ones(2), dims=("group",)), core_dims="group")
        mu = pmd.Normal("mu", pmd.as_xtensor(np.array([-1.0, 1.0]), dims=("group",)), 1)
        scale = pmd.HalfNormal("scale", 1)
        share = pmd.Beta("share", 2, 2)
        shift = pmd.Uniform("shift", -1, 2)
        effect = pmd.ZeroSumNormal("effect", sigma=1, core_dims="group")
        z = pmd.Categorical("z", p=w, core_dims="group", dims="unit")
        x = pmd.Data("x", X, dims="unit")
        pmd.Deterministic("twice", 2 * mu)
        mean = (mu + effect).isel(group=z) + share * x + shift
        pmd.Normal("y", mean, scale, observed=pmd.as_xtensor(Y, dims=("unit",)))
    return model


def without_dims():
    with pm.Model(coords=COORDS) as model:
        w = pm.Dirichlet("w", np.ones(2), dims="group")
        mu = pm.Normal("mu", [-1.0, 1.0], 1, dims="group")
        scale = pm.HalfNormal("scale", 1)
        share = pm.Beta("share", 2, 2)
        shift = pm.Uniform("shift", -1, 2)
        effect = pm.ZeroSumNormal("effect", sigma=1, dims="group")
        z = pm.Categorical("z", p=w, dims="unit")
        x = pm.Data("x", X, dims="unit")
        pm.Deterministic("twice", 2 * mu, dims="group")
        pm.Normal("y", (mu + effect)[z] + share * x + shift, scale, observed=Y, dims="unit")
    return model


def test_they_have_the_same_density():
    """Prior in the unconstrained space, with its transforms, and marginal likelihood."""
    ours, theirs = (pma.compile_simulator(m, device="cpu") for m in (with_dims(), without_dims()))
    parameters = theirs.sample(200, random_seed=1).parameters
    found = ours.density.log_marginal(parameters, {"y": Y})
    expected = theirs.density.log_marginal(parameters, {"y": Y})
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert expected.std() > 1
    vector = theirs.parameters.split(theirs.parameters.unconstrain(parameters))
    np.testing.assert_allclose(
        ours.density.log_prior(vector), theirs.density.log_prior(vector), rtol=1e-8
    )


def test_they_are_read_with_their_dims():
    model = with_dims()
    before = dict(model.named_vars)
    with model:
        result = pma.sample(draws=50, random_seed=1, progressbar=False, cache=False)
    posterior = result["posterior"]
    assert posterior["mu"].dims == ("chain", "draw", "group")
    assert posterior["mu"]["group"].to_numpy().tolist() == ["a", "b"]
    assert result["indicators"]["z"].dims == ("chain", "draw", "unit")
    assert np.array_equal(posterior["twice"], 2 * posterior["mu"])
    assert torch.isfinite(torch.as_tensor(posterior["effect"].to_numpy())).all()
    assert model.named_vars == before


def test_data_that_change_are_noticed():
    """The model that is read holds the same data, and not a copy of them."""
    model = with_dims()
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.changed_data == ()
    with model:
        pm.set_data({"x": 2 * X})
    assert simulator.changed_data == ("x",)
    again = pma.compile_simulator(model, device="cpu")
    [covariate] = (c for c in again.spec.covariates if c.name == "x")
    assert covariate.unit_axes
    assert np.array_equal(again.covariates["x"], 2 * X)


def test_models_without_dims_stay_themselves():
    model = without_dims()
    assert without_xtensors(model) is model


def test_other_transforms_are_refused_by_name():
    with pm.Model(coords=COORDS) as model:
        mu = pmd.Normal("mu", 0, 1, transform=Own())
        pmd.Normal("y", mu, 1, observed=pmd.as_xtensor(Y, dims=("unit",)))
    with pytest.raises(UnsupportedModelError, match="'mu' to have one of PyMC's transforms"):
        without_xtensors(model)
