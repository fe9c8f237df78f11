"""Results in the hands of ArviZ and PyMC: summaries, plots, model comparison, files."""

import arviz as az
import matplotlib
import numpy as np
import pymc as pm
import pytest

from tests.trained import NUM_UNITS, data, train_three

matplotlib.use("Agg")

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:arviz.*"),
    pytest.mark.filterwarnings("ignore::UserWarning:arviz_plots.*"),
    pytest.mark.filterwarnings("ignore::UserWarning:arviz_stats.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
LOG_LIKELIHOOD = {"log_likelihood": True}


@pytest.fixture(scope="module")
def idata(trained):
    _, posterior = trained("mixture")
    return posterior.sample(random_seed=1, draws=500, idata_kwargs=LOG_LIKELIHOOD)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def first_of(*names):
    return next(getattr(az, name) for name in names if hasattr(az, name))


def test_summary(idata):
    table = az.summary(idata, var_names=["w", "mu", "sigma", "distance"])
    assert list(table.index)[:2] == ["w[c0]", "w[c1]"]
    assert (table["r_hat"].astype(float) < 1.02).all()
    assert len(az.summary(idata, var_names=["y_component"])) == NUM_UNITS


@pytest.mark.parametrize(
    "plots",
    [
        ("plot_trace",),
        ("plot_forest",),
        ("plot_rank",),
        ("plot_pair",),
        ("plot_posterior", "plot_dist"),
        ("plot_autocorr",),
        ("plot_ess",),
    ],
    ids=lambda names: names[0],
)
def test_plots(idata, plots):
    assert first_of(*plots)(idata, var_names=["w", "mu"]) is not None


@pytest.mark.usefixtures("interpreted")
def test_posterior_predictive(trained, idata):
    """The original model simulates from the result, and ArviZ draws it."""
    model, _ = trained("mixture")
    with model:
        predictive = pm.sample_posterior_predictive(
            idata, var_names=["y"], random_seed=1, progressbar=False
        )
    draws = np.asarray(predictive.posterior_predictive["y"])
    assert draws.shape == (4, 500, NUM_UNITS)
    y = data()
    assert abs(draws.mean() - y.mean()) < 4 * y.std() / np.sqrt(NUM_UNITS)
    if hasattr(predictive, "extend"):
        predictive.extend(idata, join="left")
    assert first_of("plot_ppc_dist", "plot_ppc")(predictive) is not None


@pytest.mark.usefixtures("interpreted")
def test_posterior_predictive_of_explicit_indicators(trained):
    model, posterior = trained("explicit")
    result = posterior.sample(random_seed=1, draws=50)
    with model:
        predictive = pm.sample_posterior_predictive(
            result, var_names=["y"], random_seed=1, progressbar=False
        )
    residual = np.asarray(predictive.posterior_predictive["y"]) - np.asarray(
        result.posterior["mean"]
    )
    assert abs(residual.std() - 0.5) < 0.05


def test_loo_and_compare(idata):
    loo = az.loo(idata)
    assert loo.n_data_points == NUM_UNITS
    _, posterior = train_three()
    three = posterior.sample(random_seed=1, draws=500, idata_kwargs=LOG_LIKELIHOOD)
    table = az.compare({"two": idata, "three": three})
    assert set(table.index) == {"two", "three"}


def test_netcdf(idata, tmp_path):
    path = tmp_path / "result.nc"
    idata.to_netcdf(str(path))
    again = first_of("from_netcdf")(str(path))
    for name in idata.posterior.data_vars:
        assert np.array_equal(again.posterior[name], idata.posterior[name])
    assert again.posterior.attrs["pareto_k"] == idata.posterior.attrs["pareto_k"]
    assert again.indicator_probabilities["y_component"].dims == ("unit", "component")
    assert again.sample_stats["diverging"].sum() == 0


def test_rhat_and_ess_are_those_of_independent_draws(idata):
    ess = az.ess(idata, var_names=["mu"])
    values = np.asarray(getattr(ess, "dataset", ess)["mu"])
    assert (values > 1_000).all()
