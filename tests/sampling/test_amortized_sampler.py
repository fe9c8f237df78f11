"""``pm.sample(method="amortized")``: a hook that changes nothing else, and passes arguments on."""

import importlib
import inspect

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError, SamplerArgumentError
from pymc_amortized.sampling.amortized_sampler import teach_pymc
from tests.trained import data, mixture, normal_mean

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]

QUICK = pma.TrainingConfig(steps=100, batch_size=64)


@pytest.fixture
def model():
    return normal_mean(data())


def sample(**kwargs):
    options = {"training": QUICK, "random_seed": 1, "progressbar": False}
    return pm.sample(method="amortized", **{**options, **kwargs})


def test_the_hook_keeps_the_signature():
    original = pm.sample.__wrapped__
    before = inspect.signature(original).parameters
    now = inspect.signature(pm.sample).parameters
    assert [name for name in now if name != "method"] == list(before)
    assert all(now[name] == before[name] for name in before)
    assert now["method"].default is None
    assert list(now)[-1] == list(before)[-1] == "kwargs"
    for name in ("__name__", "__module__", "__qualname__", "__annotations__"):
        assert getattr(pm.sample, name) == getattr(original, name)
    assert original.__doc__ in pm.sample.__doc__
    assert "amortized" in pm.sample.__doc__


def test_wrapped_once():
    before = pm.sample
    teach_pymc()
    importlib.reload(pma)
    assert pm.sample is before
    assert not hasattr(pm.sample.__wrapped__, "__wrapped__")


@pytest.mark.parametrize("method", [{}, {"method": None}, {"method": "mcmc"}], ids=str)
def test_other_calls_go_to_pymc_as_they_are(monkeypatch, method):
    from pymc_amortized.sampling.amortized_sampler import _add_method

    calls = []
    hooked = _add_method(lambda *args, **kwargs: calls.append((args, kwargs)) or "theirs")
    assert hooked(7, tune=3, nuts={"target_accept": 0.9}, **method) == "theirs"
    assert calls == [((7,), {"tune": 3, "nuts": {"target_accept": 0.9}})]


def test_pymc_still_samples(model):
    with model:
        idata = pm.sample(
            20,
            tune=20,
            chains=1,
            random_seed=1,
            progressbar=False,
            compute_convergence_checks=False,
            nuts_sampler="pymc",
        )
    assert idata.posterior["mu"].shape == (1, 20)
    assert idata.posterior.attrs["inference_library"] == "pymc"


@pytest.mark.parametrize("method", ["amortised", "nuts", "", 3])
def test_unknown_methods(model, method):
    with model, pytest.raises(InvalidArgumentError, match="'mcmc' or 'amortized'"):
        pm.sample(method=method)


def test_amortized(model):
    with model:
        idata = sample(draws=30, chains=2)
    assert idata.posterior["mu"].shape == (2, 30)
    assert idata.posterior.attrs["inference_library"] == "pymc_amortized"
    positional = pm.sample(
        30,
        method="amortized",
        chains=2,
        model=model,
        training=QUICK,
        random_seed=1,
        progressbar=False,
    )
    assert np.array_equal(idata.posterior["mu"], positional.posterior["mu"])
    ours = pma.sample(30, chains=2, model=model, training=QUICK, random_seed=1, progressbar=False)
    assert np.array_equal(idata.posterior["mu"], ours.posterior["mu"])
    assert sample(model=model).posterior["mu"].shape == (4, 1000)


@pytest.mark.parametrize("correction", ["auto", "none", "importance", "adaptive", "smc", "mcmc"])
def test_the_model_is_left_as_it_was(model, correction):
    """Whatever is built on the way is no part of the model in whose block it is built."""

    def contents():
        at_start = {name: value.tolist() for name, value in model.initial_point().items()}
        return model.str_repr(), list(model.named_vars), list(model.potentials), at_start

    before = contents()
    with model:
        sample(correction=correction)
    assert contents() == before


def test_no_model():
    with pytest.raises(ValueError, match="with model"):
        sample()


@pytest.mark.parametrize(
    "arguments",
    [{"tune": 500}, {"cores": 2}, {"target_accept": 0.9, "init": "adapt_diag"}, {"quiet": True}],
    ids=str,
)
def test_meaningless_arguments_are_named(model, arguments):
    with model, pytest.warns(UserWarning, match=next(iter(arguments))):
        sample(draws=10, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"step": object()},
        {"nuts_sampler": "nutpie"},
        {"initvals": {"mu": 0}},
        {"return_inferencedata": False},
        {"trace": object()},
        {"nonsense": 1},
    ],
    ids=lambda x: next(iter(x)),
)
def test_contradictory_arguments_are_refused(model, arguments):
    with model, pytest.raises(SamplerArgumentError, match="Expected") as caught:
        sample(draws=10, **arguments)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "arguments",
    [{"draws": 0}, {"chains": -1}, {"correction": "x"}, {"training": "slow"}, {"cache": 3}],
    ids=str,
)
def test_bad_values(model, arguments):
    with model, pytest.raises(InvalidArgumentError, match="Expected"):
        sample(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"var_names": ["nothing"]}, {"idata_kwargs": {"dims": {}}}, {"sizes": {"y": (500, 501)}}],
    ids=str,
)
def test_what_cannot_be_answered_is_not_trained_for(model, arguments, tmp_path):
    with model, pytest.raises((ValueError, TypeError), match="Expected"):
        sample(cache=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_the_answer_does_not_depend_on_whether_it_was_cached(tmp_path):
    model = mixture(data())
    first = sample(model=model, cache=tmp_path, draws=20)
    second = sample(model=model, cache=tmp_path, draws=20)
    assert np.array_equal(first.posterior["mu"], second.posterior["mu"])
    assert first.posterior.attrs["training_time"] == second.posterior.attrs["training_time"]
