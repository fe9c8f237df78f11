"""States of which a model says no probabilities: learned paths, against exact ones."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, UnsupportedModelError
from pymc_amortized.simulation.training_batches import codes_of
from tests.dwelling import compare_learned_paths
from tests.model.chains_by_hand import NUM_TIMES, data, opaque
from tests.trained import QUICK

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc.exceptions.ImputationWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def sample(posterior, *args, **kwargs):
    with pytest.warns(AccuracyWarning, match="could not be checked: z has no density"):
        return posterior.sample(*args, random_seed=1, **kwargs)


def test_learned_paths_are_those_of_the_model(trained):
    """At known parameters: smoothing, filtering and paths against a chain that knows ages."""
    _, posterior = trained("dwelling")
    gaps, stays = compare_learned_paths(posterior, 300, 5)
    assert gaps["filtering"] < 0.03
    assert gaps["smoothing"] < 0.03
    # A planted fault: the filter in place of the smoother.
    assert gaps["filtering for smoothing"] > 0.06
    assert stays["simulated"] == 0
    assert stays["paths"] < 0.1
    # A planted fault: states drawn one by one from the exact smoother.
    assert stays["independent"] > 0.3


def test_what_is_returned(trained):
    model, posterior = trained("dwelling")
    idata = sample(posterior, draws=200, chains=2)
    assert idata.indicators["z"].dims == ("chain", "draw", "time")
    assert set(np.unique(idata.indicators["z"])) == {0, 1}
    assert idata.posterior.attrs["checked"] == "no"
    assert list(idata.indicator_probabilities.data_vars) == ["smoothing", "filtering"]
    smoothing = idata.indicator_probabilities["smoothing"]
    assert smoothing.dims == ("time", "state")
    assert list(smoothing["state"].values) == ["low", "high"]
    assert np.allclose(smoothing.sum("state"), 1)
    # The smoothing distribution is that of the paths.
    share = np.asarray(idata.indicators["z"]).reshape(-1, NUM_TIMES).mean(0)
    assert np.abs(share - smoothing.sel(state="high")).max() < 3.5 * np.sqrt(0.25 / 400)
    with pytest.warns(AccuracyWarning):
        paths = posterior.indicators(kind="paths", draws=30, random_seed=1)
    assert paths["z"].dims == ("chain", "draw", "time")
    with pytest.raises(UnsupportedModelError, match="to find the most probable path"):
        posterior.indicators(kind="viterbi")
    with pytest.raises(UnsupportedModelError, match="to filter a stream"):
        posterior.filter()
    with pytest.raises(UnsupportedModelError, match="z has no density"):
        posterior.sample(correction="adaptive")
    assert posterior.spec.indicators[0].kind == "simulated"
    assert "z has no density" in repr(posterior)
    with pytest.raises(UnsupportedModelError, match="probabilities of its states are not known"):
        pma.fit(model, sizes={"y": (10, 30)})


@pytest.mark.filterwarnings("ignore:NaN in the data:UserWarning")
def test_many_data_sets_and_gaps(trained):
    _, posterior = trained("dwelling")
    y = np.stack([data(), data(2)])
    y[1, 3:6] = np.nan
    with pytest.warns(AccuracyWarning):
        many = posterior.sample_many({"y": y}, draws=50, random_seed=1, progressbar=False)
    assert many.indicator_probabilities["smoothing"].shape == (2, NUM_TIMES, 2)


def test_the_same_draws_whether_saved_or_not(trained, tmp_path):
    model, posterior = trained("dwelling")
    posterior.save(tmp_path / "dwelling")
    loaded = pma.load(tmp_path / "dwelling", model, networks=QUICK)
    first, second = (sample(p, draws=20) for p in (posterior, loaded))
    assert np.array_equal(first.indicators["z"], second.indicators["z"])


def test_states_of_a_python_function_side_by_side():
    """Three sequences, one of them with gaps, and states from a callback."""
    y = np.stack([data(seed)[:8] for seed in range(3)])
    y[1, 2:5] = np.nan
    spec = pma.compile_simulator(opaque(y)).spec
    [indicator] = spec.indicators
    assert (indicator.kind, indicator.units, indicator.support) == ("simulated", (3, 8), (0, 1))
    assert not spec.has_density
    assert spec.structure == "sequence"
    config = pma.TrainingConfig(steps=5, tolerance=None)
    posterior = pma.fit(opaque(y), training=config, random_seed=1, progressbar=False)
    idata = sample(posterior, draws=10)
    assert idata.indicators["z"].shape[2:] == (3, 8)
    assert idata.indicator_probabilities["smoothing"].shape == (3, 8, 2)


def one_number(y):
    with pm.Model() as model:
        z = pm.CustomDist("z", random=lambda rng=None, size=None: rng.integers(2), dtype="int64")
        pm.Normal("y", z, 1, observed=y)
    return model


def a_thousand_states(y):
    def draw(rng=None, size=None):
        return rng.integers(1_000, size=size)

    with pm.Model() as model:
        z = pm.CustomDist("z", random=draw, dtype="int64", shape=len(y))
        pm.Normal("y", z, 1, observed=y)
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [(one_number, "it is a single number"), (a_thousand_states, "drawn between 0 and")],
)
def test_what_cannot_be_read(build, message):
    with pytest.raises(UnsupportedModelError, match=message):
        pma.compile_simulator(build(data()))


def test_draws_without_a_name_are_refused():
    """A scan of bare draws, which PyMC can simulate but has no variable for."""
    with pm.Model() as model:
        steps = pm.Bernoulli.dist(0.3, shape=8)
        pm.Normal("y", pt.cumsum(steps) % 2, 1, observed=np.zeros(8))
    with pytest.raises(UnsupportedModelError, match="variables that the model names"):
        pma.compile_simulator(model)


def test_a_state_too_rare_to_be_learned(trained):
    _, posterior = trained("dwelling")
    [table] = posterior.inference.problem.layout.tables
    with pytest.raises(UnsupportedModelError, match="got 2, which is too rare"):
        codes_of(table, torch.full((1, 1, NUM_TIMES), 2))
