"""Answers in one labelling, or in all of them."""

import math
import types

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from tests.symmetry.symmetric_models import flat
from tests.trained import data, unordered


@pytest.fixture(scope="module")
def answers(trained):
    """Answers of one network in both labellings, by the same draws."""
    _, posterior = trained("unordered")
    options = {"draws": 500, "random_seed": 1}
    return [posterior.sample(labels=labels, **options) for labels in ("canonical", "symmetric")]


def test_answers_are_in_order(trained, answers):
    _, posterior = trained("unordered")
    canonical, symmetric = answers
    assert (np.diff(flat(canonical, "mu"), axis=1) > 0).all()
    assert canonical["posterior"].attrs["labels"] == "canonical"
    assert canonical["posterior"].attrs["labels_ordered_by"] == "mu"
    assert symmetric["posterior"].attrs["labels"] == "symmetric"
    assert "labels_ordered_by" not in symmetric["posterior"].attrs
    assert "labels: in ascending order of mu" in repr(posterior)


def test_overlap_of_what_components_are_ordered_by(trained, answers):
    """As many draws of one above other draws of the next as independent draws have."""
    _, posterior = trained("unordered")
    canonical, symmetric = answers
    assert canonical["posterior"].attrs["labels_overlap"] < 0.01
    assert "labels_overlap" not in symmetric["posterior"].attrs
    labels = posterior._delivery.ask(10, 1, "auto").labels
    draws = posterior.inference.problem.simulator.sample_parameters(4_000, 1)
    order = posterior.inference.problem.labelling.orders[0].name
    for apart, least, most in ((0.0, 0.45, 0.5), (1.0, 0.2, 0.28), (6.0, 0.0, 0.001)):
        rng = np.random.default_rng(1)
        mu = rng.normal([0.0, apart], 1.0, size=(4_000, 2))
        values = {**draws, order: torch.as_tensor(mu)}
        overlap = labels.overlap(types.SimpleNamespace(parameters=values))
        assert least - 0.02 <= overlap <= most + 0.02
    assert math.isnan(
        posterior._delivery.ask(10, 1, "auto", labels="symmetric").labels.overlap(None)
    )


def test_symmetric_answers_are_the_same_permuted(answers):
    """Parameters, what is computed of them, and indicators: all of them together."""
    canonical, symmetric = answers
    order = flat(symmetric, "mu").argsort(axis=1)
    swapped = order[:, 0] == 1
    assert abs(swapped.mean() - 0.5) < 3.3 * 0.5 / math.sqrt(len(swapped))
    for name in ("mu", "sigma", "w", "variance"):
        again = np.take_along_axis(flat(symmetric, name), order, axis=1)
        np.testing.assert_allclose(again, flat(canonical, name))
    z = np.where(swapped[:, None], 1 - flat(symmetric, "z"), flat(symmetric, "z"))
    np.testing.assert_array_equal(z, flat(canonical, "z"))
    np.testing.assert_allclose(symmetric["indicator_probabilities"]["z"], 0.5)
    assert np.any(canonical["indicator_probabilities"]["z"].to_numpy() > 0.9)
    lp = [result["sample_stats"]["lp"].to_numpy() for result in answers]
    np.testing.assert_array_equal(*lp)
    log_q = [result["sample_stats"]["log_q"].to_numpy() for result in answers]
    np.testing.assert_allclose(log_q[1], log_q[0] - math.log(2))


def test_density_of_answers_is_that_of_the_model_as_written(trained, answers):
    """Over PyMC's own unconstrained parameters, whichever order they are in."""
    model, posterior = trained("unordered")
    simulator = pma.compile_simulator(model, device="cpu")
    for result, labels in zip(answers, ("canonical", "symmetric"), strict=True):
        draws = {name: flat(result, name) for name in ("mu", "sigma", "w")}
        tensors = {name: torch.as_tensor(x) for name, x in draws.items()}
        vector = simulator.parameters.unconstrain(tensors)
        log_p = simulator.density.log_prior(simulator.parameters.split(vector))
        log_p += simulator.density.log_marginal(tensors, simulator.observed_data)
        stats = result["sample_stats"]
        np.testing.assert_allclose(stats["lp"].to_numpy().ravel(), log_p.numpy())
        log_q = posterior.log_prob(draws, labels=labels)
        np.testing.assert_allclose(stats["log_q"].to_numpy().ravel(), log_q, atol=0.01)
    everywhere = posterior.log_prob(draws)
    in_order = (np.diff(draws["mu"], axis=1) > 0).ravel()
    np.testing.assert_array_equal(np.isfinite(everywhere), in_order)


def test_evidence_is_the_same_in_all_labellings(trained):
    _, posterior = trained("unordered")
    weighed = posterior.sample(draws=4_000, random_seed=2)["sample_stats"].attrs
    idata = posterior.sample(
        draws=16_000, chains=1, correction="none", labels="symmetric", random_seed=3
    )
    log_weight = idata["sample_stats"]["log_weight"].to_numpy()
    log_evidence = log_weight.max() + np.log(np.exp(log_weight - log_weight.max()).mean())
    assert abs(log_evidence - weighed["log_evidence"]) < 0.1


def test_many_data_sets_have_symmetric_answers(trained):
    _, posterior = trained("unordered")
    many = {"y": np.stack([data(seed=1), data(seed=2)])}
    options = {"draws": 100, "chains": 1, "random_seed": 1, "progressbar": False}
    found = [
        posterior.sample_many(many, labels=labels, **options)
        for labels in ("canonical", "symmetric")
    ]
    canonical, symmetric = (flat(result, "mu") for result in found)
    assert (np.diff(canonical, axis=-1) > 0).all()
    np.testing.assert_allclose(np.sort(symmetric, axis=-1), canonical)
    swapped = symmetric[..., 0] > symmetric[..., 1]
    assert (np.abs(swapped.mean(axis=0) - 0.5) < 0.3).all()
    z = [flat(result, "z")[:, 0] for result in found]
    np.testing.assert_array_equal(np.where(swapped[:, :1], 1 - z[1], z[1]), z[0])
    assert found[1]["posterior"].attrs["labels"] == "symmetric"


def test_a_saved_network_answers_in_its_order(trained, tmp_path, answers):
    model, posterior = trained("unordered")
    posterior.save(tmp_path / "network")
    again = pma.load(tmp_path / "network", model).sample(draws=500, random_seed=1)
    np.testing.assert_array_equal(flat(again, "mu"), flat(answers[0], "mu"))


def test_new_data_of_a_symmetric_answer_are_checked(trained, answers):
    _, posterior = trained("unordered")
    found = [posterior.check(100, 1, draws=200, around=result) for result in answers]
    assert all("checked in ascending order of mu" in repr(report) for report in found)
    assert ["within chains" in repr(report) for report in found] == [False, True]
    assert all(np.isfinite(report.negative_log_posterior).all() for report in found)


def test_sampling_says_which_labels_it_gives(caplog):
    config = pma.TrainingConfig(steps=20, tolerance=None)
    options = {"training": config, "progressbar": False, "random_seed": 1, "cache": False}
    with unordered(data()), caplog.at_level("INFO", logger="pymc_amortized"):
        idata = pm.sample(draws=100, method="amortized", order_by="sigma", **options)
    assert idata["posterior"].attrs["labels_ordered_by"] == "sigma"
    assert "labels are in ascending order of sigma" in caplog.text
    # Scales of the two are alike: an order of them says little of which component is which.
    assert idata["posterior"].attrs["labels_overlap"] > 0.05
    assert "Components overlap in sigma" in caplog.text
    assert "pma.relabel(idata)" in caplog.text
    with pytest.raises(pma.errors.InvalidArgumentError, match="'canonical', 'symmetric'"):
        pma.AmortizedSampler(labels="ordered")
