"""Simulations that were made elsewhere: taken as they are, or refused by name."""

import numpy as np
import pymc as pm
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError, InvalidDataError
from pymc_amortized.fitting.given_simulations import read_simulations
from tests.trained import data, normal_mean, unordered
from tests.training.short_runs import QUICK, same

OPTIONS = {"training": QUICK, "random_seed": 1, "progressbar": False, "cache": False}
NUMBER = 120
pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.fixture(scope="module")
def simulator():
    return pma.compile_simulator(normal_mean(data()), device="cpu")


@pytest.fixture(scope="module")
def made(simulator):
    return simulator.sample(NUMBER, 3)


def as_dataset(arrays):
    return xarray.Dataset(
        {
            name: (("sample", *(f"{name}_{i}" for i in range(x.ndim - 1))), x)
            for name, x in arrays.items()
        }
    )


def test_every_form_is_the_same(simulator, made):
    arrays = made.arrays
    forms = {
        "Simulation": made,
        "arrays": arrays,
        "lists": {name: x.tolist() for name, x in arrays.items()},
        "Dataset": as_dataset(arrays),
        "Dataset, draws last": as_dataset(arrays).transpose(..., "sample"),
    }
    for form in forms.values():
        found = read_simulations(simulator, form)
        for name, x in arrays.items():
            np.testing.assert_array_equal(found.arrays[name], x)


def test_prior_predictive_draws_of_pymc(simulator):
    model = normal_mean(data())
    idata = pm.sample_prior_predictive(NUMBER, model=model, random_seed=1)
    found = read_simulations(simulator, idata).arrays
    assert found["y"].shape == (NUMBER, len(data()))
    mu = np.asarray(idata.prior["mu"]).ravel()
    np.testing.assert_array_equal(found["mu"], mu)
    assert abs(np.corrcoef(found["y"].mean(1), mu)[0, 1]) > 0.9


def test_a_network_learns_from_them_alone(made):
    config = pma.TrainingConfig(steps=100, batch_size=32, tolerance=None)
    one, other = (
        pma.fit(normal_mean(data()), simulations=x, **OPTIONS | {"training": config})
        for x in (made, as_dataset(made.arrays))
    )
    assert one.record.simulations == 0
    assert one.record.config.simulations == NUMBER
    assert f"steps of 32 data sets out of {NUMBER}" in repr(one)
    assert one.history[-1]["posterior"] < one.history[0]["posterior"]
    assert same(one.tensors(), other.tensors())


def test_other_simulations_make_another_network(simulator, made, tmp_path):
    options = OPTIONS | {"cache": tmp_path}
    model, others = normal_mean(data()), simulator.sample(NUMBER, 4)
    first = pma.fit(model, simulations=made, **options)
    assert pma.fit(model, simulations=others, **options).record != first.record
    assert pma.fit(model, simulations=made, **options).record == first.record
    assert pma.fit(model, **options).record.fingerprint != first.record.fingerprint


def test_exchangeable_components_are_put_in_order():
    """Whatever the labels of what is given, parameters and indicators move together."""
    written = pma.compile_simulator(unordered(np.zeros(30)), device="cpu")
    ordered = written.in_order(pma.symmetry.order_choice.choose_orders(written))
    made = written.sample(NUMBER, 5)
    found = read_simulations(ordered, made)
    [name] = found.indicators
    mu, before = found.arrays["mu"], made.arrays
    assert (np.diff(mu) > 0).all()
    assert (np.diff(before["mu"]) < 0).any()
    of_units = [np.take_along_axis(x["mu"], x[name], axis=1) for x in (before, found.arrays)]
    np.testing.assert_array_equal(*of_units)


def change(made, **values):
    return {**made.arrays, **values}


BAD = {
    "unknown": (lambda m: change(m, nu=np.zeros(NUMBER)), r"got 'nu', which is none of them"),
    "missing": (lambda m: {"mu": m.arrays["mu"]}, r"got none of 'y'"),
    "shape": (lambda m: change(m, y=m.arrays["y"][:, 1:]), r"'y' of shape \(120, "),
    "lengths": (lambda m: change(m, mu=m.arrays["mu"][1:]), r"as many simulations.*119"),
    "few": (lambda m: {n: x[:99] for n, x in m.arrays.items()}, r"100 at least; got"),
    "single": (lambda m: {n: x[0] for n, x in m.arrays.items()}, r"as many simulations"),
    "NaN": (lambda m: change(m, y=np.where(m.arrays["y"] > 1, np.nan, 0)), r"finite .* of 'y'"),
    "no parameter": (lambda m: change(m, mu=np.full(NUMBER, np.inf)), r"finite .* of 'mu'"),
    "text": (lambda m: change(m, mu=np.full(NUMBER, "one")), r"numbers for 'mu'"),
    "what": (lambda m: 3, r"got 3(.|\n)*sample_prior_predictive"),
}


@pytest.mark.parametrize("problem", BAD)
def test_what_is_refused(simulator, made, problem):
    make, match = BAD[problem]
    with pytest.raises(InvalidDataError, match=match):
        read_simulations(simulator, make(made))


def counts(with_density=True):
    def draw(z, rate, rng=None, size=None):
        return rng.poisson(rate * (1 + 4 * z), size=size)

    with pm.Model() as model:
        rate = pm.Exponential("rate", 1)
        z = pm.Bernoulli("z", 0.5, shape=4)
        if with_density:
            pm.Poisson("y", rate * (1 + 4 * z), observed=np.ones(4, int))
        else:
            pm.CustomDist("y", z, rate, random=draw, dtype="int64", observed=np.ones(4, int))
    return model


def test_values_that_the_model_cannot_make():
    simulator = pma.compile_simulator(counts(), device="cpu")
    made = simulator.sample(NUMBER, 1)
    read_simulations(simulator, made)
    for bad, match in (
        ({"rate": -made.arrays["rate"]}, r"inside the support .* 120 of 120"),
        ({"y": made.arrays["y"] + 0.5}, r"whole numbers for 'y'"),
        ({"z": made.arrays["z"] + 1}, r"values of 'z' among \[0, 1\]; got 2"),
    ):
        with pytest.raises(InvalidDataError, match=match):
            read_simulations(simulator, change(made, **bad))


def test_indicators_are_needed_where_they_have_to_be_learned():
    for with_density in (True, False):
        simulator = pma.compile_simulator(counts(with_density), device="cpu")
        arrays = simulator.sample(NUMBER, 1).arrays
        indicators = arrays.pop("z")
        if with_density:
            assert not read_simulations(simulator, arrays).indicators
        with pytest.raises(InvalidDataError, match=r"indicators \['z'\] too"):
            read_simulations(simulator, arrays, classified=with_density)
        found = read_simulations(simulator, {**arrays, "z": indicators})
        np.testing.assert_array_equal(found.arrays["z"], indicators)


def test_a_classification_network_that_is_asked_for_needs_them_too():
    model, options = counts(), OPTIONS | {"networks": pma.Networks(classification=True)}
    arrays = pma.compile_simulator(model, device="cpu").sample(NUMBER, 1).arrays
    assert pma.fit(model, simulations=arrays, **options).inference.estimator.classified
    arrays.pop("z")
    with pytest.raises(InvalidDataError, match="classification network was asked for"):
        pma.fit(model, simulations=arrays, **options)


def test_a_joint_indicator_is_joined_from_its_members():
    with pm.Model() as model:
        first = pm.Bernoulli("first", 0.5, shape=6)
        second = pm.Categorical("second", [0.2, 0.3, 0.5], shape=6)
        pm.Normal("y", first + 2.0 * second, 1, observed=np.zeros(6))
    simulator = pma.compile_simulator(model, device="cpu")
    made = simulator.sample(NUMBER, 1)
    [joint] = simulator.spec.indicators
    arrays = made.arrays
    values = arrays.pop(joint.name)
    for member in joint.members:
        drawn = member.digits.decode(made.indicators[joint.name])
        arrays[member.name] = drawn.numpy()
    np.testing.assert_array_equal(read_simulations(simulator, arrays).arrays[joint.name], values)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sizes": {"y": (5, 9)}}, "of the size of the model"),
        ({"training": pma.TrainingConfig(simulations=500)}, "a budget of 500"),
        ({"training": "none"}, "learns from none"),
    ],
)
def test_what_cannot_go_with_them(made, options, match):
    with pytest.raises(InvalidArgumentError, match=match):
        pma.fit(normal_mean(data()), simulations=made, **OPTIONS | options)
