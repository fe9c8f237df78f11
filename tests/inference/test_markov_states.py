"""Hidden Markov models from the model to the answer, against a grid and enumeration."""

import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import discrete
from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
    InvalidDataError,
    ObservationShapeError,
    UnsupportedModelError,
)
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.markov import MarkovConditional
from tests.trained import NUM_TIMES, simulate_chain

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")

GRID_MU = np.linspace(-2.5, 3.5, 121)
GRID_STAY = np.linspace(0.02, 0.98, 49)


def grid():
    mu, stay = np.meshgrid(GRID_MU, GRID_STAY, indexing="ij")
    return mu.ravel(), stay.ravel()


def forward_backward(y, mu, stay, observed=None):
    """Filter, smooth and pair probabilities for draws (S,), one step after the other."""
    P = np.stack([np.stack([stay, 1 - stay], -1), np.broadcast_to([0.4, 0.6], (len(mu), 2))], 1)
    e = stats.norm(mu[:, None, None] + 2.5 * np.arange(2), 1).pdf(np.asarray(y)[:, None])
    if observed is not None:
        e[:, ~observed] = 1
    num_times = len(y)
    alpha = np.empty((len(mu), num_times, 2))
    log_marginal = np.zeros(len(mu))
    predicted = np.broadcast_to([0.7, 0.3], (len(mu), 2))
    for t in range(num_times):
        joint = predicted * e[:, t]
        total = joint.sum(1, keepdims=True)
        alpha[:, t] = joint / total
        log_marginal += np.log(total[:, 0])
        predicted = (alpha[:, t, :, None] * P).sum(1)
    beta = np.ones((len(mu), num_times, 2))
    for t in range(num_times - 2, -1, -1):
        beta[:, t] = (P * (e[:, t + 1] * beta[:, t + 1])[:, None]).sum(2)
        beta[:, t] /= beta[:, t].sum(1, keepdims=True)
    gamma = alpha * beta
    gamma /= gamma.sum(-1, keepdims=True)
    pair = alpha[:, :-1, :, None] * P[:, None] * (e * beta)[:, 1:, None, :]
    pair /= pair.sum((2, 3), keepdims=True)
    return log_marginal, alpha, gamma, pair


def grid_posterior(y, observed=None):
    """Weights of the grid, and filtering, smoothing and pair probabilities averaged over it."""
    mu, stay = grid()
    log_marginal, alpha, gamma, pair = forward_backward(y, mu, stay, observed)
    log_p = log_marginal + stats.norm(0, 2).logpdf(mu) + stats.beta(8, 2).logpdf(stay)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return p, *(np.einsum("s,s...->...", p, x) for x in (alpha, gamma, pair))


def flat(idata, name):
    values = np.asarray(idata.posterior[name])
    return values.reshape(-1, *values.shape[2:])


def sample(posterior, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        return posterior.sample(*args, random_seed=1, **kwargs)


@pytest.mark.parametrize("num_times", [NUM_TIMES, 12, 65])
def test_answers_are_those_of_the_grid(trained, num_times):
    """Parameters, smoothing, filtering and joint paths; the model's length, shorter and longer."""
    _, posterior = trained("chain")
    _, y = simulate_chain(num_times, num_times)
    idata = sample(posterior, {"y": y}, draws=2_000, chains=2)
    assert idata.posterior.attrs["checked"] == "accepted"
    p, filtering, smoothing, pair = grid_posterior(y)
    mu, stay = grid()
    for name, values in (("mu", mu), ("stay", stay)):
        mean = p @ values
        sd = np.sqrt(p @ (values - mean) ** 2)
        # At least 1,000 effective draws, and a grid.
        assert abs(flat(idata, name).mean() - mean) < 4.5 * sd / np.sqrt(1_000) + 0.005
    probabilities = idata.indicator_probabilities
    assert probabilities["smoothing"].dims == ("time", "state")
    assert probabilities["smoothing"].coords["state"].values.tolist() == ["low", "high"]
    assert np.abs(probabilities["smoothing"] - smoothing).max() < 0.03
    assert np.abs(probabilities["filtering"] - filtering).max() < 0.03
    z = flat(idata, "z")
    moved = ((z[:, :-1] == 0) & (z[:, 1:] == 1)).mean(0)
    assert np.abs(moved - pair[:, 0, 1]).max() < 4.5 * 0.5 / np.sqrt(1_000)
    switches = (z[:, 1:] != z[:, :-1]).sum(1).mean()
    expected = pair[:, 0, 1].sum() + pair[:, 1, 0].sum()
    assert abs(switches - expected) < 4.5 * 3 / np.sqrt(1_000)
    # A planted fault: states drawn from their own smoothing distribution switch more often.
    alone = np.random.default_rng(0).random(z.shape) < smoothing[:, 1]
    assert (alone[:, 1:] != alone[:, :-1]).sum(1).mean() - expected > 4.5 * 3 / np.sqrt(1_000)


def test_viterbi(trained):
    """The path is the best of all under the draw with the highest density."""
    _, posterior = trained("chain")
    _, y = simulate_chain(10, 3)
    idata = sample(posterior, {"y": y})
    best = int(np.argmax(np.asarray(idata.sample_stats["lp"])))
    mu, stay = (flat(idata, name)[best] for name in ("mu", "stay"))
    paths = np.array(np.meshgrid(*[[0, 1]] * 10, indexing="ij")).reshape(10, -1).T
    log_P = np.log([[stay, 1 - stay], [0.4, 0.6]])
    log_prob = np.log([0.7, 0.3])[paths[:, 0]] + log_P[paths[:, :-1], paths[:, 1:]].sum(1)
    log_prob += stats.norm(mu + 2.5 * paths, 1).logpdf(y).sum(1)
    found = np.asarray(idata.indicator_probabilities["viterbi"])
    assert (found == paths[log_prob.argmax()]).all()


def test_several_sequences_share_parameters():
    """Sequences of unequal length side by side: the density is the product of theirs."""
    y = np.stack([simulate_chain(9, s)[1] for s in range(3)])
    y[1, 5:], y[2, 2] = np.nan, np.nan

    def side_by_side(y):
        with pm.Model(coords={"person": range(3), "time": range(9)}) as model:
            mu = pm.Normal("mu", 0, 2)
            stay = pm.Beta("stay", 8, 2)
            P = pt.stack([pt.stack([stay, 1 - stay]), pt.constant([0.4, 0.6])])
            first = pm.Categorical.dist([0.7, 0.3], shape=(3,))
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, dims=("person", "time"))
            pm.Normal("y", mu + 2.5 * z, 1, observed=np.ma.masked_invalid(y))
        return model

    model = side_by_side(y)
    config = pma.TrainingConfig(steps=60, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False)
    idata = sample(posterior)
    assert idata.posterior["z"].dims == ("chain", "draw", "person", "time")
    assert idata.indicator_probabilities["smoothing"].dims == ("person", "time", "state")
    mu, stay = grid()
    observed = ~np.isnan(y)
    total = sum(
        forward_backward(np.nan_to_num(one), mu, stay, here)[0]
        for one, here in zip(y, observed, strict=True)
    )
    log_p = total + stats.norm(0, 2).logpdf(mu) + stats.beta(8, 2).logpdf(stay)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    assert idata.posterior.attrs["checked"] == "accepted"
    sd = np.sqrt(p @ (mu - p @ mu) ** 2)
    assert abs(flat(idata, "mu").mean() - p @ mu) < 4.5 * sd / np.sqrt(400) + 0.005
    smoothing = [
        np.einsum("s,stk->tk", p, forward_backward(np.nan_to_num(one), mu, stay, here)[2])
        for one, here in zip(y, observed, strict=True)
    ]
    assert np.abs(idata.indicator_probabilities["smoothing"] - np.stack(smoothing)).max() < 0.04


def test_every_rung_answers_for_chains(trained):
    _, posterior = trained("chain")
    _, y = simulate_chain(12, 5)
    means = {}
    for rung in ("importance", "adaptive", "mcmc"):
        idata = sample(posterior, {"y": y}, correction=rung, draws=250)
        assert idata.posterior.attrs["rung"] == rung
        assert idata.posterior.attrs["checked"] == "accepted"
        means[rung] = flat(idata, "mu").mean()
        sd = flat(idata, "mu").std()
    assert max(means.values()) - min(means.values()) < 2 * 4.5 * sd / np.sqrt(400)


def network_chain(posterior, dataset, mu, stay):
    """Return the chain with the network's emissions at known parameters (S,)."""
    inference = posterior.inference
    values = {"mu": torch.as_tensor(mu), "stay": torch.as_tensor(stay)}
    vector = inference.problem.space.unconstrain(values)
    draws = Draws(values, vector, None, torch.zeros(len(mu)), torch.zeros(len(mu)), "network")
    conditional = MarkovConditional(
        inference.problem, inference.estimator, inference.problem.spec.indicators[0], dataset
    )
    [(found, _)] = conditional.chains(draws)
    return found


def test_states_without_a_density(trained):
    """The network's emissions in the model's chain: filter and smoother near the exact ones."""
    _, posterior = trained("chain_without_density")
    gaps = []
    for seed in range(20):
        _, y = simulate_chain(NUM_TIMES, 100 + seed)
        dataset = posterior.inference.read({"y": y})
        mu, stay = np.array([0.5]), np.array([0.85])
        found = network_chain(posterior, dataset, mu, stay)
        _, alpha, gamma, _ = forward_backward(y, mu, stay)
        for exact, log_q in (
            (alpha, discrete.forward_filter(found).log_filtering),
            (gamma, discrete.smooth(found)),
        ):
            gaps.append((exact * (np.log(exact) - log_q.numpy())).sum(-1).mean())
    assert np.mean(gaps) < 0.02
    with pytest.warns(AccuracyWarning, match="could not be checked"):
        idata = posterior.sample(random_seed=1, draws=200)
    assert set(idata.indicator_probabilities.data_vars) == {"smoothing", "filtering", "viterbi"}


def test_indicators_of_every_kind(trained):
    _, posterior = trained("chain")
    _, y = simulate_chain(20, 7)
    _, filtering, smoothing, _ = grid_posterior(y)
    found = {
        kind: posterior.indicators({"y": y}, kind=kind, random_seed=1)["z"]
        for kind in ("smoothing", "filtering", "paths", "viterbi")
    }
    assert found["smoothing"].dims == found["filtering"].dims == ("time", "state")
    assert np.abs(found["smoothing"] - smoothing).max() < 0.05
    assert np.abs(found["filtering"] - filtering).max() < 0.05
    assert found["paths"].shape == (1, 1000, 20)
    assert np.abs(found["paths"].mean(("chain", "draw")) - smoothing[:, 1]).max() < 0.08
    assert found["viterbi"].dims == ("time",)
    with pytest.raises(InvalidArgumentError, match="'viterbi'"):
        posterior.indicators(kind="best")
    _, other = trained("mixture")
    with pytest.raises(UnsupportedModelError, match="indicator_probabilities"):
        other.indicators()


def test_a_stream_is_filtered_as_a_whole(trained):
    """Points that come later change weights of draws and filter as if all had been there."""
    _, posterior = trained("chain")
    _, y = simulate_chain(45, 11)
    stream = posterior.filter({"y": y[:30]}, draws=4_000, random_seed=1)
    first = stream.update({"y": y[30:31]})
    rest = stream.update({"y": y[31:]})
    assert first.dims == ("time", "state")
    assert first.coords["time"].values.tolist() == [30]
    assert rest.coords["time"].values.tolist() == list(range(31, 45))
    for t in (30, 37, 44):
        expected = grid_posterior(y[: t + 1])[1][-1]
        row = (first if t == 30 else rest).sel(time=t)
        assert np.abs(row - expected).max() < 0.03
    assert np.allclose(stream.probabilities, rest.sel(time=44))
    assert 100 < stream.ess <= 4_000
    # A missing point moves the chain on, and tells nothing.
    before, ess = stream.probabilities, stream.ess
    after = stream.update({"y": np.ma.masked_array([0.0], mask=[True])})
    assert not np.allclose(before, after)
    assert np.isclose(stream.ess, ess)


def test_forecasts(trained):
    """One step and many steps ahead, against the grid."""
    _, posterior = trained("chain")
    _, y = simulate_chain(30, 12)
    stream = posterior.filter({"y": y}, draws=8_000, random_seed=1)
    ahead = stream.forecast(40)
    assert ahead["y"].dims == ("sample", "time")
    assert ahead["y"].shape == (8_000, 40)
    assert ahead.coords["time"].values.tolist() == list(range(30, 70))
    mu, stay = grid()
    _, alpha, _, _ = forward_backward(y, mu, stay)
    p = grid_posterior(y)[0]
    state = alpha[:, -1]
    P = np.stack([np.stack([stay, 1 - stay], -1), np.broadcast_to([0.4, 0.6], (len(mu), 2))], 1)
    for step in range(40):
        state = (state[:, :, None] * P).sum(1)
        if step in (0, 3, 39):
            high = p @ state[:, 1]
            assert abs(float(ahead["z"][:, step].mean()) - high) < 4.5 * 0.5 / np.sqrt(2_000)
            mean = p @ (mu + 2.5 * state[:, 1])
            assert abs(float(ahead["y"][:, step].mean()) - mean) < 4.5 * 1.7 / np.sqrt(2_000)
    with pytest.raises(InvalidArgumentError, match="at least 1 step"):
        stream.forecast(0)


def test_many_sequences_of_unequal_length(trained):
    _, posterior = trained("chain")
    datasets = [{"y": simulate_chain(n, n)[1]} for n in (15, 60, 33)]
    idata = posterior.sample_many(datasets, draws=500, random_seed=1, progressbar=False)
    assert idata.answers["checked"].values.tolist() == ["accepted"] * 3
    smoothing = idata.indicator_probabilities["smoothing"]
    assert smoothing.dims == ("dataset", "time", "state")
    assert smoothing.shape == (3, 60, 2)
    for b, one in enumerate(datasets):
        length = len(one["y"])
        expected = grid_posterior(one["y"])[2]
        assert np.abs(np.asarray(smoothing)[b, :length] - expected).max() < 0.06
        assert np.isnan(np.asarray(smoothing)[b, length:]).all()
        assert (np.asarray(idata.posterior["z"])[:, :, b, length:] == -1).all()


def test_the_same_draws_whether_saved_or_not(trained, tmp_path):
    model, posterior = trained("chain")
    posterior.save(tmp_path / "chain.amortized")
    again = pma.load(tmp_path / "chain.amortized", model)
    a, b = sample(posterior, draws=50), sample(again, draws=50)
    assert np.array_equal(a.posterior["z"], b.posterior["z"])


def test_the_log_likelihood_is_of_the_whole_sequence(trained):
    _, posterior = trained("chain")
    _, y = simulate_chain(25, 2)
    idata = sample(posterior, {"y": y}, draws=50, idata_kwargs={"log_likelihood": True})
    values = np.asarray(idata.log_likelihood["y"]).ravel()
    expected = forward_backward(y, flat(idata, "mu"), flat(idata, "stay"))[0]
    assert values.shape == expected.shape
    assert np.allclose(values, expected)


def test_data_that_no_state_can_produce():
    """The time point is named; a stream stays where it was."""
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        P = np.array([[0.9, 0.1], [0.2, 0.8]])
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Poisson("y", rate * (1 + 3 * z), observed=np.array([1, 2, 0, 5, 4, 1]))
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False)
    with pytest.raises(InvalidDataError, match=r"time points \[3\]"):
        posterior.sample({"y": [1, 2, 0, -5, 4, 1]})
    stream = posterior.filter(random_seed=1)
    before = stream.probabilities
    with pytest.raises(InvalidDataError, match="at time 8"):
        stream.update({"y": [1, 2, -5]})
    assert stream.num_times == 6
    assert np.array_equal(stream.probabilities, before)


def test_bad_sequences(trained):
    _, posterior = trained("chain")
    with pytest.raises(InvalidDataError, match="everything is missing"):
        posterior.sample({"y": np.ma.masked_all(20)})
    with pytest.raises(ObservationShapeError, match="10 to 70 units"):
        posterior.sample({"y": [0.5]})
    with pytest.raises(ObservationShapeError, match="10 to 70 units"):
        posterior.sample({"y": np.zeros(71)})


def test_one_time_point():
    """A chain of one time point is an independent indicator."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        P = np.array([[0.9, 0.1], [0.2, 0.8]])
        first = pm.Categorical.dist([0.3, 0.7])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, steps=0, shape=(1,))
        pm.Normal("y", mu[z], 1, observed=np.array([0.4]))
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    idata = sample(posterior, draws=500)
    mu = flat(idata, "mu")
    joint = np.array([0.3, 0.7]) * stats.norm(mu, 1).pdf(0.4)
    expected = (joint / joint.sum(1, keepdims=True)).mean(0)
    assert np.allclose(idata.indicator_probabilities["smoothing"][0], expected, atol=1e-6)
