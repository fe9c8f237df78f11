"""Networks for a model, built anew and put together again."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.inference.assembly import assemble, inference_from_tensors
from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from tests.inference.untrained import (
    COUNTS,
    Y,
    poisson,
    simulator_of,
    two_components,
    untrained,
)


def nothing_to_infer():
    with pm.Model() as model:
        pm.Normal("y", 0, 1, observed=Y)
    return model


def several_rows_per_time_point():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=np.full((2, 2), 0.5), init_dist=first, shape=(3,))
        pm.Normal("y", mu[z[np.array([0, 0, 1, 1, 2])]], 1, observed=Y)
    return model


def units_in_two_tables_without_a_density():
    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 1, size=size)

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=5)
        pm.Normal("y", mu[z], 1, observed=Y)
        pm.CustomDist("x", mu[z[:3]], random=draw, observed=Y[:3])
    return model


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (nothing_to_infer, "neither, so that there is nothing to infer"),
        (several_rows_per_time_point, r"(?s)Give each time point a row.*masked_invalid"),
        (units_in_two_tables_without_a_density, r"(?s)'z' to be observed in one table.*logp=logp"),
    ],
)
def test_models_for_which_there_are_no_networks(build, message):
    with pytest.raises(UnsupportedModelError, match=message):
        assemble(simulator_of(build()), None, None, 0)


def test_weights_depend_on_the_seed_alone():
    simulator = simulator_of(two_components())
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (assemble(simulator, None, None, seed)[1].state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_networks_are_built_for_the_sizes_that_are_asked_for():
    layout, _ = assemble(simulator_of(two_components()), {"y": (3, 30)}, None, 0)
    assert [(table.sizes, table.resized) for table in layout.tables] == [((3, 30), True)]


@pytest.mark.parametrize(
    ("model", "data", "parameters", "sizes", "referenced"),
    [
        (poisson, {"y": COUNTS + 1}, {"rate": [0.5, 2.0]}, None, False),
        (two_components, {"y": np.arange(8.0)}, {"mu": [[0.0, 1], [3, -2]]}, {"y": (2, 9)}, True),
    ],
)
def test_what_is_put_together_again_answers_the_same(model, data, parameters, sizes, referenced):
    before = untrained(model(), sizes)
    if referenced:
        before = before.with_reference(before.problem.source, 1)
    tensors = {name: x.clone() for name, x in before.tensors().items()}
    after = inference_from_tensors(before.problem.simulator, tensors, sizes, None)
    assert after.tensors().keys() == tensors.keys()
    found = []
    for inference in (before, after):
        dataset = inference.read(data)
        summaries = inference.summarize(dataset.smooth)[1]
        quantile = inference.simulation_quantile(summaries)
        log_q = inference.log_posterior(parameters, dataset, any_labels=False)
        found.append(torch.cat([log_q, summaries[0], quantile]))
        assert bool(torch.isnan(quantile)) != referenced
    assert torch.isfinite(found[0][:-1]).all()
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


def explicit():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.5, shape=5)
        pm.Normal("y", mu[z], 1, observed=Y)
    return model


def drawn_only():
    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 1, size=size)

    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.5, shape=5)
        pm.CustomDist("y", mu[z], random=draw, observed=Y)
    return model


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.parametrize(
    ("build", "networks", "classified"),
    [
        (explicit, None, set()),
        (explicit, pma.Networks(posterior=pma.MixtureDensity), set()),
        (explicit, pma.Networks(classification=True), {0}),
        (explicit, pma.Networks(classification=UnitClassifier), {0}),
        (drawn_only, None, {0}),
        (two_components, None, set()),
    ],
)
def test_indicators_are_learned_where_nothing_else_tells_them(build, networks, classified):
    simulator = simulator_of(build())
    _, estimator = assemble(simulator, None, networks, 0)
    assert estimator.classified == classified
    tensors = {f"estimator.{name}": x for name, x in estimator.state_dict().items()}
    again = inference_from_tensors(simulator, tensors, {}, networks)
    assert again.estimator.classified == classified


def test_networks_that_were_trained_with_a_classifier_keep_it():
    """Files of 0.5.0 hold one for every indicator."""
    before = untrained(two_components())
    assert before.estimator.classified == {0}
    after = inference_from_tensors(before.problem.simulator, before.tensors(), {}, None)
    assert after.estimator.classified == {0}


def test_numbers_of_other_networks_do_not_fit():
    tensors = untrained(poisson()).tensors()
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        inference_from_tensors(simulator_of(two_components()), tensors, None, None)
    networks = pma.Networks(posterior=pma.MixtureDensity)
    with pytest.raises(RuntimeError, match=r"Missing key"):
        inference_from_tensors(simulator_of(poisson()), tensors, None, networks)
