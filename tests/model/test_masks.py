"""Labels that are known of some units: indicators that others depend on, observed in part."""

import itertools

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore:Data in .* contains missing values"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]

OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False}
NUM_UNITS = 30
RNG = np.random.default_rng(1)
LABELS = RNG.integers(0, 2, NUM_UNITS)
HIDDEN = RNG.random(NUM_UNITS) < 0.6
X = np.linspace(-1, 1, NUM_UNITS)
Y = RNG.normal(np.array([-1, 1])[LABELS], 1)


def semi_supervised(by_unit, categorical, labels=None):
    """Of some units the group is known; its probability may differ from unit to unit."""
    labels = np.ma.masked_array(LABELS, mask=HIDDEN) if labels is None else labels
    with pm.Model() as model:
        share = pm.Beta("share", 2, 2)
        mu = pm.Normal("mu", 0, 2, shape=2)
        p = pm.math.sigmoid(X + pm.math.logit(share)) if by_unit else share
        if categorical:
            g = pm.Categorical("g", pm.math.stack([1 - p, p], axis=-1), observed=labels)
        else:
            g = pm.Bernoulli("g", p, observed=labels)
        pm.Normal("y", mu[g], 1, observed=Y)
    return model


def log_marginal(share, mu, by_unit):
    p = 1 / (1 + (1 / share - 1) * np.exp(-X)) if by_unit else np.full(NUM_UNITS, share)
    joint = np.stack([1 - p, p], axis=1) * stats.norm(mu, 1).pdf(Y[:, None])
    return np.log(np.where(HIDDEN, joint.sum(1), joint[np.arange(NUM_UNITS), LABELS])).sum()


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("by_unit", [False, True])
def test_the_density_is_of_known_labels_and_of_the_rest_summed_out(by_unit, categorical):
    simulator = pma.compile_simulator(semi_supervised(by_unit, categorical), device="cpu")
    assert [i.name for i in simulator.spec.indicators] == ["g"]
    parameters = simulator.sample(50, random_seed=1).parameters
    data = {"y": Y, "g_observed": np.where(HIDDEN, 0, LABELS)}
    found = simulator.density.log_marginal(parameters, data).numpy()
    shares, means = parameters["share"].numpy(), parameters["mu"].numpy()
    expected = [log_marginal(s, m, by_unit) for s, m in zip(shares, means, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.std(expected) > 1


def test_simulated_labels_are_those_of_the_units():
    simulator = pma.compile_simulator(semi_supervised(True, False), device="cpu")
    simulation = simulator.sample(4_000, random_seed=1)
    z = simulation.indicators["g"]
    assert torch.equal(simulation.observations["g_observed"], z)
    share = simulation.parameters["share"]
    p = 1 / (1 + (1 / share[:, None] - 1) * torch.exp(-torch.as_tensor(X)))
    assert float((z.double() - p).mean(0).abs().max()) < 4 * 0.5 / 4_000**0.5
    mean = simulation.parameters["mu"].gather(1, z)
    assert abs(float((simulation.observations["y"] - mean).std()) - 1) < 0.02


def test_known_labels_are_answered_as_known():
    """In one labelling: known labels tell components apart."""
    with semi_supervised(False, False):
        result = pma.sample(draws=500, **OPTIONS)
    posterior = result["posterior"]
    z = result["indicators"]["g"].to_numpy()
    assert (z[..., ~HIDDEN] == LABELS[~HIDDEN]).all()
    table = np.asarray(result["indicator_probabilities"]["g"])
    assert np.array_equal(table[~HIDDEN, 1], LABELS[~HIDDEN])
    share, mu = (posterior[n].to_numpy().reshape(2_000, -1) for n in ("share", "mu"))
    prior = np.stack([1 - share, share], axis=-1)
    joint = prior * stats.norm(mu[:, None], 1).pdf(Y[:, None])
    exact = (joint / joint.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(table[HIDDEN], exact[HIDDEN], atol=1e-5)


def test_a_network_for_partly_observed_labels():
    """Given as masked arrays; missing in other places than in the model."""
    brief = pma.TrainingConfig(steps=5, tolerance=None, num_validation=32, batch_size=32)
    posterior = pma.fit(semi_supervised(False, False), training=brief, **OPTIONS)
    labels = np.ma.masked_array(LABELS, mask=HIDDEN)
    result = posterior.sample({"y": Y, "g_observed": labels}, draws=100, random_seed=1)
    z = result["indicators"]["g"].to_numpy()
    assert (z[..., ~HIDDEN] == LABELS[~HIDDEN]).all()
    assert z[..., HIDDEN].std() > 0


def test_states_of_a_chain_that_are_known_at_some_times():
    labels = np.ma.masked_array([0, 0, 1, 1, 0], mask=[False, True, True, False, True])
    y = np.array([-1.0, 0.2, 0.8, 1.1, -0.5])
    P = np.array([[0.8, 0.2], [0.3, 0.7]])
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(5,), observed=labels)
        pm.Normal("y", mu[z], 1, observed=y)
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(20, random_seed=1).parameters
    data = {"y": y, "z_observed": labels.filled(0)}
    found = simulator.density.log_marginal(parameters, data).numpy()
    expected = []
    for means in parameters["mu"].numpy():
        total = 0.0
        for path in itertools.product([0, 1], repeat=5):
            if all(m or s == k for s, k, m in zip(path, labels.data, labels.mask, strict=True)):
                p = 0.5 * np.prod([P[a, b] for a, b in itertools.pairwise(path)])
                total += p * stats.norm(means[list(path)], 1).pdf(y).prod()
        expected.append(np.log(total))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_depends_on_labels_may_begin_with_their_name():
    labels = np.ma.masked_array(LABELS, mask=HIDDEN)
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        g = pm.Categorical("g", w, observed=labels)
        pm.Normal("g_size", 2.0 * g, 1, observed=Y)
    [indicator] = pma.compile_simulator(model, device="cpu").spec.indicators
    assert indicator.name == "g"


def test_values_that_nothing_depends_on_are_missing_as_before():
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        pm.Poisson("y", rate, observed=np.ma.masked_array([1, 2, 3], mask=[False, True, False]))
    spec = pma.compile_simulator(model, device="cpu").spec
    assert not spec.indicators
    assert [o.name for o in spec.observations] == ["y"]


def test_multivariate_values_observed_in_part_are_refused():
    data = np.ma.masked_invalid([[1.0, np.nan], [0.0, 2.0]])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.MvNormal("y", mu, np.eye(2), observed=data)
    with pytest.raises(UnsupportedModelError, match="as a whole"):
        pma.compile_simulator(model)
