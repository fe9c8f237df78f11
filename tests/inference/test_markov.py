"""States of Markov chains given one data set."""

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized import discrete
from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
    UnsupportedModelError,
)
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.markov import MarkovConditional
from tests.answered import flat
from tests.inference.grid import forward_backward, grid_posterior, sample
from tests.trained import NUM_TIMES, simulate_chain

pytestmark = pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")


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
