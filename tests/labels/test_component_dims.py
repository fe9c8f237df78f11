"""Dims that count the same components are permuted together, or not at all."""

import numpy as np
import pymc as pm
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.compat import result_of_groups
from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.labels.component_dims import component_dims

NUM_UNITS = 40
LABELS = np.array([0, 1])
TRUE = {"w": [0.3, 0.7], "mu": [-2.0, 2.0], "sigma": [0.5, 1.0]}


def model(num_covariates=2):
    """A mixture of two, with as many coefficients as components, and none of their kind."""
    x = np.random.default_rng(1).normal(size=(NUM_UNITS, num_covariates))
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        slope = pm.Normal("slope", 0, 1, shape=num_covariates)
        pm.Deterministic("precision", sigma**-2)
        means = mu + (x @ slope)[:, None]
        pm.NormalMixture("y", w, means, sigma, observed=np.zeros(NUM_UNITS))
    return model


def draws(names=("w", "mu", "sigma"), **more):
    """Draws as a sampler without named dims gives them, in two labellings at random."""
    rng = np.random.default_rng(0)
    swapped = rng.random((2, 50)) < 0.5
    variables = {}
    for name in names:
        values = np.array(TRUE[name]) + rng.normal(0, 0.01, (2, 50, 2))
        values[swapped] = values[swapped][:, ::-1]
        variables[name] = (("chain", "draw", f"{name}_dim_0"), values)
    return xarray.Dataset({**variables, **more})


def automatic(name, shape, values=None):
    dims = ("chain", "draw", *(f"{name}_dim_{i}" for i in range(len(shape))))
    return dims, np.random.default_rng(2).normal(size=(2, 50, *shape)) if values is None else values


def relabelled(posterior, *arguments, **options):
    idata = result_of_groups({"posterior": posterior})
    return pma.relabel(idata, *arguments, **options)["posterior"]


def assert_in_one_labelling(posterior):
    for name, true in TRUE.items():
        assert np.abs(posterior[name].values - true).max() < 0.1, name


def test_dims_without_names_are_permuted_together():
    posterior = relabelled(draws(), "ordering", by="mu", pivot=None)
    assert_in_one_labelling(posterior)
    assert posterior.attrs["relabelled_dims"] == "w_dim_0, mu_dim_0, sigma_dim_0"


@pytest.mark.parametrize("by", ["mu", "sigma", "w"])
def test_components_are_ordered_by_any_of_them(by):
    dims = ("w_dim_0", "mu_dim_0", "sigma_dim_0")
    assert_in_one_labelling(relabelled(draws(), "ordering", by=by, component_dim=dims))


@pytest.mark.parametrize("dim", ["w_dim_0", "mu_dim_0"])
@pytest.mark.parametrize("door", [pma.relabel, pma.detect_label_switching])
def test_one_of_several_dims_alone_is_refused(door, dim):
    """Permuting w alone gives draws of no posterior."""
    idata = result_of_groups({"posterior": draws()})
    with pytest.raises(InvalidArgumentError, match=r"sigma_dim_0(.|\n)*model=model") as refused:
        door(idata, component_dim=dim)
    advice = str(refused.value).split("component_dim=")[1].split("\n")[0]
    assert set(eval(advice)) == {"w_dim_0", "mu_dim_0", "sigma_dim_0"}


def test_the_only_dim_of_its_length_is_enough():
    posterior = draws(["mu"], level=automatic("level", (3,)))
    for dims in ("mu_dim_0", None):
        found = relabelled(posterior, "ordering", by="mu", component_dim=dims or "mu_dim_0")
        assert np.abs(found["mu"].values - TRUE["mu"]).max() < 0.1
    with pytest.raises(InvalidArgumentError, match="among") as refused:
        relabelled(posterior, "ordering", by="mu")
    assert "level_dim_0" in str(refused.value)


def test_the_model_knows_which_dims_are_exchanged():
    """The slopes of two covariates are as many as components, and stay."""
    slope = automatic("slope", (2,))
    precision = automatic("precision", (2,))
    posterior = draws(slope=slope, precision=precision)
    posterior["precision"] = (precision[0], posterior["sigma"].values ** -2)
    with model():
        simulator = pma.compile_simulator()
    dims = component_dims(posterior, None, simulator)
    assert set(dims) == {"w_dim_0", "mu_dim_0", "sigma_dim_0", "precision_dim_0"}
    found = relabelled(posterior, "ordering", by="mu", model=model())
    assert_in_one_labelling(found)
    assert np.array_equal(found["slope"], posterior["slope"])
    assert np.allclose(found["precision"], found["sigma"].values ** -2)
    switching = pma.detect_label_switching(
        result_of_groups({"posterior": posterior}), model=model()
    )
    assert switching.within
    assert "slope" not in switching.rhat
    with pytest.raises(InvalidArgumentError, match="sigma_dim_0"):
        component_dims(posterior, ("w_dim_0", "mu_dim_0"), simulator)


def test_a_name_that_only_some_variables_have():
    """One variable has a named dim, and others have been forgotten."""
    posterior = draws(["w", "sigma"], mu=(("chain", "draw", "component"), np.zeros((2, 50, 2))))
    with pytest.warns(UserWarning, match=r"\['w_dim_0', 'sigma_dim_0'\] are as long"):
        assert component_dims(posterior, None) == ("component",)
    whole = ("component", "w_dim_0", "sigma_dim_0")
    assert component_dims(posterior, whole) == whole


def test_two_axes_of_one_variable():
    """Of a transition matrix both are of components; of others no one can tell."""
    rows = np.random.default_rng(3).dirichlet(np.ones(2), (2, 50, 2))
    posterior = draws(["mu"], P=automatic("P", (2, 2), rows))
    assert component_dims(posterior, None) == ("mu_dim_0", "P_dim_0", "P_dim_1")
    with pytest.raises(InvalidArgumentError, match="'slope' has several"):
        component_dims(draws(["mu"], slope=automatic("slope", (2, 2))), None)


def test_dims_of_units_are_not_those_of_components():
    z = np.random.default_rng(4).integers(0, 2, (2, 50, NUM_UNITS))
    dims, values = automatic("fitted", (NUM_UNITS,))
    posterior = draws(z=(("chain", "draw", "z_dim_0"), z), fitted=(dims, values))
    assert component_dims(posterior, None) == ("w_dim_0", "mu_dim_0", "sigma_dim_0")
