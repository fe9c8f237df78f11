"""States of which a model says no probabilities: learned paths, against exact ones."""

import itertools

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, UnsupportedModelError
from pymc_amortized.networks.classification.path_network import PathNetwork
from pymc_amortized.networks.units import Units, UnitShape
from tests.dwelling import compare_learned_paths
from tests.trained import QUICK, simulate_chain

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc.exceptions.ImputationWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)

NUM_TIMES = 20


def data(seed=1):
    return simulate_chain(NUM_TIMES, seed)[1]


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
    assert idata.posterior["z"].dims == ("chain", "draw", "time")
    assert set(np.unique(idata.posterior["z"])) == {0, 1}
    assert idata.posterior.attrs["checked"] == "no"
    assert list(idata.indicator_probabilities.data_vars) == ["smoothing", "filtering"]
    smoothing = idata.indicator_probabilities["smoothing"]
    assert smoothing.dims == ("time", "state")
    assert list(smoothing["state"].values) == ["low", "high"]
    assert np.allclose(smoothing.sum("state"), 1)
    # The smoothing distribution is that of the paths.
    share = np.asarray(idata.posterior["z"]).reshape(-1, NUM_TIMES).mean(0)
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
    assert np.array_equal(first.posterior["z"], second.posterior["z"])


def draw_chain(stay, rng=None, size=None):
    """A chain that a Python function draws."""
    moves = rng.random(size) > np.asarray(stay)
    moves[..., 0] = rng.random(size[:-1]) < 0.5
    return moves.cumsum(-1) % 2


def opaque(y, **options):
    with pm.Model() as model:
        stay = pm.Beta("stay", 4, 2)
        mu = pm.Normal("mu", 0, 1)
        z = pm.CustomDist("z", stay, random=draw_chain, dtype="int64", shape=np.shape(y), **options)
        pm.Normal("y", mu + 1.5 * z, 1, observed=np.ma.masked_invalid(y))
    return model


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
    assert idata.posterior["z"].shape[2:] == (3, 8)
    assert idata.indicator_probabilities["smoothing"].shape == (3, 8, 2)


def test_a_density_by_time_points_is_a_known_chain():
    """The same function beside a density of every time point: a table, exact."""

    def logp(value, stay):
        kept = pt.eq(value[..., 1:], value[..., :-1])
        steps = pt.log(pt.switch(kept, stay, 1 - stay))
        valid = pt.ge(value, 0) & pt.le(value, 1)
        first = pt.full_like(value[..., :1], np.log(0.5), dtype="float64")
        terms = pt.concatenate([first, steps], axis=-1)
        return pt.switch(valid, terms, -np.inf)

    spec = pma.compile_simulator(opaque(data()[:8], logp=logp)).spec
    assert (spec.indicators[0].kind, spec.indicators[0].order) == ("markov", 1)
    assert spec.has_density


def test_a_density_with_a_longer_memory_is_not_known_as_a_table():
    def logp(value, stay):
        far = pt.eq(value[2:], value[:-2])
        steps = pt.log(pt.switch(far, stay, 1 - stay))
        terms = pt.concatenate([pt.full((2,), np.log(0.5)), steps])
        return pt.switch(pt.ge(value, 0) & pt.le(value, 1), terms, -np.inf)

    [indicator] = pma.compile_simulator(opaque(data()[:8], logp=logp)).spec.indicators
    assert indicator.kind == "simulated"
    assert "n_lags=2" in indicator.density


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
    inference = posterior.inference
    source = inference.problem.source
    [table] = inference.problem.layout.tables
    with pytest.raises(UnsupportedModelError, match="got 2, which is too rare"):
        source._codes(table, torch.full((1, 1, NUM_TIMES), 2))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PathNetwork(UnitShape(2, 6, 6, 1, 3, None, 0, 2), num_parameters=4, width=16)


def units(num_datasets=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(num_datasets, 12, 2, generator=generator)
    return Units(values, torch.ones(num_datasets, 12, dtype=torch.bool))


@torch.no_grad()
def test_the_network_is_a_distribution_over_paths():
    """Summed over all paths of a short sequence it is 1, and draws follow it."""
    torch.manual_seed(0)
    short = PathNetwork(UnitShape(2, 5, 5, 1, 2, None, 0, 1), num_parameters=3, width=16)
    one = Units(torch.randn(1, 5, 2), torch.ones(1, 5, dtype=torch.bool))
    parameters = torch.randn(1, 3)
    paths = torch.as_tensor(list(itertools.product(range(2), repeat=5)))
    log_q, _ = short(one.repeat(32), parameters.expand(32, -1), paths)
    q = log_q.sum(1).exp()
    assert q.sum().item() == pytest.approx(1, abs=1e-5)
    codes, p = short.sample(
        one.repeat(20_000), parameters.expand(20_000, -1), torch.Generator().manual_seed(1)
    )
    share = torch.bincount(codes @ torch.tensor([16, 8, 4, 2, 1]), minlength=32) / 20_000
    # 32 shares with standard errors of at most sqrt(q / 20,000).
    assert ((share - q).abs() < 4.5 * (q / 20_000).sqrt() + 1e-4).all()
    exact = torch.stack([q[paths[:, t] == 1].sum() for t in range(5)])
    assert (p.mean(0)[:, 1] - exact).abs().max() < 4.5 * 0.5 / np.sqrt(20_000)


@torch.no_grad()
def test_draws_have_the_probabilities_that_are_said(network):
    data_sets, parameters = units(), torch.randn(2, 4)
    codes, p = network.sample(data_sets, parameters, torch.Generator().manual_seed(0))
    log_q, _ = network(data_sets, parameters, codes)
    assert torch.allclose(log_q, p.gather(-1, codes.unsqueeze(-1)).squeeze(-1).log(), atol=1e-5)
    alone = [
        network(data_sets.select(slice(b, b + 1)), parameters[b : b + 1], codes[b : b + 1])
        for b in range(2)
    ]
    assert torch.allclose(log_q, torch.cat([a for a, _ in alone]), atol=1e-5)


@torch.no_grad()
def test_what_each_state_depends_on(network):
    """Filtering on the past alone; a step of a path on states before it and data from it on."""
    data_sets, parameters = units(), torch.randn(2, 4)
    codes = torch.randint(3, (2, 12), generator=torch.Generator().manual_seed(0))
    step, _ = network(data_sets, parameters, codes)
    filtering = network.filter(data_sets, parameters)
    t = 3  # of the first of two sequences of 6 time points
    changed = data_sets.values.clone()
    changed[:, t + 1 : 6] += 1
    later = Units(changed, data_sets.mask)
    found = network.filter(later, parameters)
    assert torch.allclose(found[:, : t + 1], filtering[:, : t + 1], atol=1e-6)
    assert not torch.allclose(found[:, t + 1 : 6], filtering[:, t + 1 : 6], atol=1e-3)
    assert torch.allclose(found[:, 6:], filtering[:, 6:], atol=1e-6)
    assert not torch.allclose(network(later, parameters, codes)[0][:, t], step[:, t], atol=1e-5)
    changed = data_sets.values.clone()
    changed[:, :t] += 1
    earlier = Units(changed, data_sets.mask)
    assert torch.allclose(network(earlier, parameters, codes)[0][:, t], step[:, t], atol=1e-5)
    other = codes.clone()
    other[:, t + 1 : 6] = (other[:, t + 1 : 6] + 1) % 3
    assert torch.allclose(network(data_sets, parameters, other)[0][:, t], step[:, t], atol=1e-6)
    other = codes.clone()
    other[:, 0] = (other[:, 0] + 1) % 3
    assert not torch.allclose(network(data_sets, parameters, other)[0][:, t], step[:, t], atol=1e-6)


def test_sets_have_no_paths():
    with pytest.raises(ValueError, match="time points of sequences"):
        PathNetwork(UnitShape(2, 6, 6, 1, 3), num_parameters=4)
