"""Labels of components that are variables of their own, with the model that knows them."""

import numpy as np
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.compat import result_of_groups
from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.labels.single_components import SingleComponents
from pymc_amortized.results.reading import groups_with_posterior
from tests.symmetry.single_components import multivariate, three, two

OPTIONS = {"training": "none", "random_seed": 1, "progressbar": False, "cache": False}


@pytest.fixture(scope="module", params=["list", "indicator"])
def answers(request):
    """A model, and its answer in one labelling, and in both."""
    model = two(parametrization=request.param)
    posterior = pma.fit(model, order_by="mu_0", **OPTIONS)
    return model, *(
        posterior.sample(draws=200, random_seed=2, labels=labels)
        for labels in ("canonical", "symmetric")
    )


@pytest.mark.parametrize("method", ["stephens", "pra", "ordering"])
def test_all_variables_of_a_component_are_permuted(answers, method):
    model, canonical, symmetric = answers
    found = pma.relabel(symmetric, method, model=model, by="mu_1", random_seed=1)
    for name in ("mu_0", "mu_1", "s_0", "s_1", "w"):
        np.testing.assert_allclose(found["posterior"][name], canonical["posterior"][name])
        assert found["posterior"][name].dims == canonical["posterior"][name].dims
    [name] = found["indicator_probabilities"].data_vars
    tables = [x["indicator_probabilities"][name].to_numpy() for x in (found, canonical)]
    np.testing.assert_allclose(*tables, atol=0.01)
    assert "mu_0, mu_1" in found["posterior"].attrs["relabelled_dims"]


def test_switching_is_seen(answers):
    model, canonical, symmetric = answers
    assert not pma.detect_label_switching(canonical, model=model).found
    found = pma.detect_label_switching(symmetric, model=model)
    assert found.within
    assert {"mu_0, mu_1", "s_0, s_1"} <= set(found.rhat)


def test_folding_is_undone():
    model = multivariate()
    simulator = pma.compile_simulator(model, device="cpu")
    draws = {n: x.numpy() for n, x in simulator.sample(20, 1).parameters.items()}
    computed = simulator.deterministics(simulator.sample(20, 1).parameters)
    draws |= {n: x.numpy() for n, x in computed.items()}
    dims = {
        n: ("chain", "draw", *(f"{n}_dim_{i}" for i in range(x.ndim - 1))) for n, x in draws.items()
    }
    groups = groups_with_posterior(
        result_of_groups(
            {"posterior": xarray.Dataset({n: (dims[n], x[None]) for n, x in draws.items()})}
        )
    )
    singles = SingleComponents.of_model(simulator)
    folded = singles.fold(groups)
    assert folded["posterior"]["mu_0, mu_1, mu_2"].shape == (1, 20, 3, 2)
    back = singles.unfold({**folded, "sample_stats": xarray.Dataset({})}, groups)["posterior"]
    assert {"chol_0_stds", "chol_2_corr"} <= set(computed)
    for name in draws:
        np.testing.assert_allclose(back[name], groups["posterior"][name], atol=1e-12)


def test_some_components_are_refused():
    simulator = pma.compile_simulator(three(last=10.0), device="cpu")
    with pytest.raises(InvalidArgumentError, match=r"components 0 and 2(.|\n)*pma.fit"):
        SingleComponents.of_model(simulator)


def test_without_the_model_nothing_is_guessed(answers):
    _, _, symmetric = answers
    with pytest.raises(InvalidArgumentError, match="model=model"):
        pma.relabel(symmetric, "pra")
