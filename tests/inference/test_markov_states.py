"""Hidden Markov models from the model to the answer, against a grid and enumeration."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import (
    InvalidDataError,
    ObservationShapeError,
)
from tests.answered import flat
from tests.inference.grid import forward_backward, grid, grid_posterior, sample
from tests.trained import NUM_TIMES, simulate_chain

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")


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
    assert idata.indicators["z"].dims == ("chain", "draw", "person", "time")
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
        assert (np.asarray(idata.indicators["z"])[:, :, b, length:] == -1).all()


def test_the_same_draws_whether_saved_or_not(trained, tmp_path):
    model, posterior = trained("chain")
    posterior.save(tmp_path / "chain.amortized")
    again = pma.load(tmp_path / "chain.amortized", model)
    a, b = sample(posterior, draws=50), sample(again, draws=50)
    assert np.array_equal(a.indicators["z"], b.indicators["z"])


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
