"""Results in the hands of ArviZ and PyMC: summaries, plots, model comparison, files."""

import arviz as az
import matplotlib
import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
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
    assert len(az.summary(idata)) == 7
    assert len(az.summary(idata, group="indicators")) == NUM_UNITS


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
def test_posterior_predictive_of_explicit_indicators(trained, caplog):
    """Of new units, which is said; of these units once their indicators are in the posterior."""
    model, posterior = trained("explicit")
    with caplog.at_level("INFO", "pymc_amortized"):
        result = posterior.sample(random_seed=1, draws=50)
    assert "idata.posterior.update(idata.indicators)" in caplog.text

    def spread_around_means():
        with model:
            predictive = pm.sample_posterior_predictive(
                result, var_names=["y"], random_seed=1, progressbar=False
            )
        y, mean = predictive.posterior_predictive["y"], result.posterior["mean"]
        return float((np.asarray(y) - np.asarray(mean)).std())

    assert spread_around_means() > 1
    result.posterior.update(result.indicators)
    assert abs(spread_around_means() - 0.5) < 0.05


@pytest.fixture(scope="module")
def waiting():
    """A mixture of 162 units, answered as anyone would."""
    rng = np.random.default_rng(1)
    coords = {"component": ["short", "long"], "unit": range(162)}
    with pm.Model(coords=coords):
        w = pm.Dirichlet("w", np.ones(2), dims="component")
        mu = pm.Normal("mu", 0, 5, dims="component")
        sigma = pm.HalfNormal("sigma", 2, dims="component")
        y = np.r_[rng.normal(-2, 1, 60), rng.normal(2, 1, 102)]
        pm.NormalMixture("y", w, mu, sigma, observed=y, dims="unit")
        return pma.sample(draws=250, random_seed=1, progressbar=False, cache=False)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_first_calls_are_of_parameters(waiting):
    """As anyone writes them, without names of variables, and without a warning."""
    assert len(az.summary(waiting)) == 6
    for found in (az.rhat(waiting), az.ess(waiting)):
        assert set(getattr(found, "dataset", found).data_vars) == {"w", "mu", "sigma"}
    assert az.plot_trace(waiting) is not None
    assert az.plot_forest(waiting) is not None
    assert first_of("plot_posterior", "plot_dist")(waiting) is not None


def test_indicators_have_diagnostics_of_their_own(waiting):
    assert len(az.summary(waiting, group="indicators")) == 162
    assert az.extract(waiting, group="indicators").sizes["sample"] == 1_000
    z = waiting.indicators["y_component"]
    assert z.dims == ("chain", "draw", "unit")
    undecided = z.to_numpy()[..., int(abs(z.mean(("chain", "draw")) - 0.5).argmin())]
    assert float(az.rhat(undecided)) < 1.02
    assert float(az.ess(undecided)) > 500
    stuck = np.sort(undecided.ravel()).reshape(undecided.shape)
    assert float(az.rhat(stuck)) > 1.1


def test_what_was_in_the_posterior_can_be_put_there(waiting):
    groups = groups_of_result(waiting)
    copy = result_of_groups({name: group.copy() for name, group in groups.items()})
    copy.posterior.update(copy.indicators)
    assert copy.posterior["y_component"].equals(waiting.indicators["y_component"])
    table = pma.relabel(copy, "ordering", by="mu")["indicator_probabilities"]
    assert table["y_component"].sizes == waiting["indicator_probabilities"]["y_component"].sizes


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
    for group in ("posterior", "indicators"):
        for name in idata[group].data_vars:
            assert np.array_equal(again[group][name], idata[group][name])
    assert again.posterior.attrs["pareto_k"] == idata.posterior.attrs["pareto_k"]
    assert again.indicator_probabilities["y_component"].dims == ("unit", "component")
    assert again.sample_stats["diverging"].sum() == 0


def test_rhat_and_ess_are_those_of_independent_draws(idata):
    ess = az.ess(idata, var_names=["mu"])
    values = np.asarray(getattr(ess, "dataset", ess)["mu"])
    assert (values > 1_000).all()
