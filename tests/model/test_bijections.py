"""PyMC's transforms of all parameters, there and back."""

import numpy as np
import pymc as pm
import pytest
import torch

from pymc_amortized.model.bijections import Bijections
from pymc_amortized.model.reading.completion import complete_model

pytestmark = pytest.mark.usefixtures("interpreted")

ORDERED = pm.distributions.transforms.ordered


def model():
    """A bound that is a parameter itself, an order, a simplex, and no transform."""
    with pm.Model() as built:
        upper = pm.HalfNormal("upper", 2)
        pm.Uniform("x", 0, upper)
        pm.Dirichlet("w", np.ones(3))
        pm.Normal("mu", 0, 1, shape=3, transform=ORDERED, initval=[-1, 0, 1])
        b = pm.Normal("b", 0, 1)
        pm.Normal("y", b, 1, observed=[0.0])
    return built


def bijections_of(built):
    complete = complete_model(built)
    values = [built.rvs_to_values[built[p.name]] for p in complete.parameters]
    return Bijections(complete.parameters, values)


def draws(built, number=20):
    rng = np.random.default_rng(0)
    upper = np.abs(rng.normal(0, 2, number))
    return {
        "upper": upper,
        "x": upper * rng.random(number),
        "w": rng.dirichlet(np.ones(3), number),
        "mu": np.sort(rng.normal(size=(number, 3)), axis=-1),
        "b": rng.normal(size=number),
    }


def test_there_and_back():
    built = model()
    bijections = bijections_of(built)
    values = {name: torch.as_tensor(x) for name, x in draws(built).items()}
    unconstrained = bijections.forward(values)
    assert unconstrained["w"].shape == (20, 2)
    torch.testing.assert_close(bijections.backward(unconstrained), values)
    torch.testing.assert_close(unconstrained["upper"], values["upper"].log())
    # The interval ends at the draw of its own bound.
    share = values["x"] / values["upper"]
    torch.testing.assert_close(unconstrained["x"], torch.logit(share))
    assert torch.equal(unconstrained["b"], values["b"])


def test_values_that_a_transform_cannot_reach_are_told():
    built = model()
    values = {name: torch.as_tensor(x).clone() for name, x in draws(built).items()}
    values["x"][3] = 2 * values["upper"][3]
    values["mu"][5] = values["mu"][5].flip(0)
    bijections = bijections_of(built)
    found = [
        bijections.in_image(i, [values[name] for name in bijections.names[: i + 1]])
        for i in range(len(bijections.names))
    ]
    wrong = {
        n: (~inside).nonzero()[:, 0].tolist()
        for n, inside in zip(bijections.names, found, strict=True)
    }
    assert wrong == {"upper": [], "x": [3], "w": [], "mu": [5], "b": []}


def test_parameters_without_transforms_are_as_they_are():
    with pm.Model() as built:
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.Normal("y", mu.sum(), 1, observed=[0.0])
    values = {"mu": torch.zeros(4, 2, dtype=torch.float64)}
    assert bijections_of(built).backward(values)["mu"] is values["mu"]
