"""Models whose components are exchangeable: trained and answered in one labelling."""

import functools
import json
import math

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

from pymc.model.transform.conditioning import change_value_transforms

import pymc_amortized as pma

from pymc_amortized.model.ordered_prior import LabelOrder
from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.symmetry.order_choice import choose_orders
from pymc_amortized.training.record import TrainingRecord
from tests.symmetry.test_exchangeable import build
from tests.trained import data, unordered
from tests.two_sample import LEVEL, smallest_p_value

SYMMETRIC = {
    "mixture": ({}, "mu"),
    "two": ({"num_components": 2}, "sigma"),
    "coupled": ({"coupled": True}, "mu"),
    "chain": ({"kind": "chain"}, "mu"),
    "sorted": ({"order": "sort"}, "mu"),
    "partial": ({"num_components": 4, "mean": [0.0, 1.0, 0.0, 1.0]}, "mu"),
    "some": ({"mean": [0.0, 0.0, 2.0]}, "sigma"),
}


@functools.cache
def simulators_of(name):
    """The simulator of a model as it is, and in order."""
    options, by = SYMMETRIC[name]
    simulator = pma.compile_simulator(build(**options), device="cpu")
    return simulator, simulator.in_order(choose_orders(simulator, by)), by


def by_hand(draws, blocks, by, together):
    """Permute draws (S, K) of several parameters together, sorted within blocks."""
    draws = {name: x.numpy() for name, x in draws.items()}
    order = np.tile(np.arange(draws[by].shape[1]), (len(draws[by]), 1))
    for block in blocks:
        order[:, block] = np.array(block)[draws[by][:, block].argsort(axis=1)]
    for name in together:
        x = draws[name]
        if x.ndim == 3:  # a transition matrix, whose columns are permuted first
            x = np.take_along_axis(x, order[:, None], 2)
            draws[name] = np.take_along_axis(x, order[..., None], 1)
        else:
            draws[name] = np.take_along_axis(x, order, 1)
    return draws


@pytest.mark.parametrize("name", SYMMETRIC)
def test_prior_in_order_is_the_prior_permuted(name):
    simulator, ordered, by = simulators_of(name)
    [found] = simulator.exchangeable
    draws = ordered.sample(20_000, 1).parameters
    values = draws[by].numpy()
    for block in found.blocks:
        assert (np.diff(values[:, list(block)]) > 0).all()
    expected = by_hand(simulator.sample(20_000, 2).parameters, found.blocks, by, found.names)
    p_value, where = smallest_p_value({n: x.numpy() for n, x in draws.items()}, expected)
    assert p_value > LEVEL, where
    log_mass, error = ordered.log_prior_mass()
    count = sum(math.lgamma(len(block) + 1) for block in found.blocks)
    assert (log_mass, error) == (pytest.approx(-count), 0.0)


def test_sorting_one_parameter_alone_is_found_out():
    simulator, ordered, by = simulators_of("coupled")
    draws = ordered.sample(20_000, 1).parameters
    wrong = by_hand(simulator.sample(20_000, 2).parameters, [(0, 1, 2)], by, ["mu"])
    assert smallest_p_value({n: x.numpy() for n, x in draws.items()}, wrong)[0] < LEVEL


@pytest.mark.parametrize("name", SYMMETRIC)
def test_density_in_order_is_that_of_the_model(name):
    simulator, ordered, _ = simulators_of(name)
    draws = simulator.sample(50, 3).parameters
    arranged = ordered.labelling.arrange(draws)
    log_joints = []
    for one, parameters in ((simulator, draws), (ordered, arranged)):
        vector = one.parameters.unconstrain(parameters)
        back = one.parameters.constrain(vector)
        for key, value in parameters.items():
            torch.testing.assert_close(back[key], value, rtol=1e-9, atol=1e-9)
        log_prior = one.density.log_prior(one.parameters.split(vector))
        log_joints.append(log_prior + one.density.log_marginal(parameters, one.observed_data))
    log_jacobian = ordered.labelling.log_jacobian(arranged)
    torch.testing.assert_close(log_joints[1] - log_jacobian, log_joints[0])


@pytest.mark.usefixtures("interpreted")
def test_density_in_order_is_that_of_pymcs_ordered_transform():
    simulator, ordered, _ = simulators_of("mixture")
    transform = pm.distributions.transforms.ordered
    restricted = change_value_transforms(simulator.model, {"mu": transform})
    log_p = restricted.compile_logp(sum=False, jacobian=True)
    draws = ordered.sample(5, 3).parameters
    vector = ordered.parameters.split(ordered.parameters.unconstrain(draws))
    ours = ordered.density.log_prior(vector) + ordered.density.log_marginal(
        draws, ordered.observed_data
    )
    names = {v.name.split("_")[0]: v.name for v in restricted.value_vars}
    for s in range(5):
        point = {names[name]: x[s].numpy() for name, x in vector.items()}
        assert sum(x.sum() for x in log_p(point)) == pytest.approx(float(ours[s]))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("column", "blocks", "shape"),
    [
        ((None,), [(0, 1, 2)], (3,)),
        ((None, 1), [(0, 2), (1, 3)], (4, 2)),
        ((0, None), [(1, 2)], (2, 3)),
    ],
)
def test_transform_is_a_bijection_with_its_jacobian(column, blocks, shape, descending):
    order = LabelOrder(column, blocks, descending=descending)
    value = np.random.default_rng(1).normal(size=shape)
    there = order.backward(pt.as_tensor(value)).eval()
    at = tuple(slice(None) if i is None else i for i in column)
    for block in blocks:
        rises = np.diff(there[at][list(block)]) > 0
        assert (~rises if descending else rises).all()
    np.testing.assert_allclose(order.forward(pt.as_tensor(there)).eval(), value, atol=1e-12)
    log_det = order.log_jac_det(pt.as_tensor(value)).eval()
    step, columns = 1e-6, []
    for i in range(value.size):
        moved = value.copy().ravel()
        moved[i] += step
        after = order.backward(pt.as_tensor(moved.reshape(shape))).eval()
        columns.append((after - there).ravel() / step)
    _, expected = np.linalg.slogdet(np.array(columns))
    assert log_det.shape == shape
    assert log_det.sum() == pytest.approx(expected, abs=1e-4)


def separated(scale, spread):
    """Two components that differ by their means, or by their scales, as priors have it."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, scale, shape=(2, 2))
        sigma = pm.LogNormal("sigma", 0, spread, shape=2)
        z = pm.Categorical("z", w, shape=40)
        pm.Normal("y", mu[z] * [0.1, 1.0], sigma[z][:, None], observed=np.zeros((40, 2)))
    return model


@pytest.mark.parametrize(
    ("scale", "spread", "expected"), [(5.0, 0.1, "mu[:, 1]"), (0.1, 2.0, "sigma")]
)
def test_default_order_is_by_what_separates_components_best(scale, spread, expected):
    simulator = pma.compile_simulator(separated(scale, spread), device="cpu")
    [order] = choose_orders(simulator)
    assert str(order) == expected


def emissions():
    """A chain of which nothing but the probabilities of its observations tells states apart."""
    with pm.Model() as model:
        upper = pm.Uniform("upper", 0, 1, shape=2)
        P = pm.Dirichlet("P", np.ones((2, 2)))
        E = pm.Dirichlet("E", np.ones((2, 3)))
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(9,))
        pm.Categorical("y", E[z], observed=np.arange(9) % 3)
        pm.Normal("x", 0, upper[z], observed=np.zeros(9))
    return model


def test_components_can_be_ordered_by_unconstrained_values():
    simulator = pma.compile_simulator(emissions(), device="cpu")
    [order] = choose_orders(simulator, "E")
    assert str(order) in ("E[:, 0] (unconstrained)", "E[:, 1] (unconstrained)")
    ordered = simulator.in_order([order])
    E = ordered.sample(200, 1).parameters["E"]
    values = (E.log() - E.log().mean(-1, keepdim=True))[..., order.column[1]]
    assert bool((values.diff(dim=1) > 0).all())
    [order] = choose_orders(simulator, "upper")
    ordered = simulator.in_order([order])
    assert bool((ordered.sample(200, 1).parameters["upper"].diff(dim=1) > 0).all())


def test_values_descend_under_a_transform_that_reverses_them():
    with pm.Model() as model:
        top = pm.TruncatedNormal("top", 0, 1, upper=2.0, shape=2)
        w = pm.Dirichlet("w", np.ones(2))
        pm.NormalMixture("y", w, top, sigma=0.3, observed=np.zeros(10))
    simulator = pma.compile_simulator(model, device="cpu")
    [order] = choose_orders(simulator)
    draws = simulator.in_order([order]).sample(100, 1).parameters["top"]
    assert bool((draws.diff(dim=1) > 0).all())
    assert order.monotonic


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.parametrize(("options", "expected"), [({}, "mu"), ({"order": "sort"}, "mu")])
def test_default_order_without_a_density(options, expected):
    simulator = pma.compile_simulator(build(density=False, kind="explicit", **options))
    [order] = choose_orders(simulator)
    assert str(order) == expected


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")
def test_models_without_a_density_are_answered_in_order():
    model = build(density=False, kind="explicit", num_components=2)
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    canonical, symmetric = (
        posterior.sample(draws=100, random_seed=1, labels=labels)
        for labels in ("canonical", "symmetric")
    )
    mu = flat(symmetric, "mu")
    assert (np.diff(flat(canonical, "mu"), axis=1) > 0).all()
    np.testing.assert_allclose(np.sort(mu, axis=1), flat(canonical, "mu"))
    swapped = (mu[:, 0] > mu[:, 1])[:, None]
    z = flat(symmetric, "z")
    np.testing.assert_array_equal(np.where(swapped, 1 - z, z), flat(canonical, "z"))


@pytest.mark.parametrize("by", ["w", "sigma_", ["mu", "w"]])
def test_what_cannot_be_ordered_by_is_refused(by):
    simulator, _, _ = simulators_of("mixture")
    with pytest.raises(pma.errors.InvalidArgumentError, match="order_by='sigma'"):
        choose_orders(simulator, by)


@pytest.mark.parametrize("by", [5, ["mu", 1], {"mu": 1}])
def test_what_is_no_name_is_refused(by):
    with pytest.raises(pma.errors.InvalidArgumentError, match="name of a parameter, or a list"):
        choose_orders(simulators_of("mixture")[0], by)


def test_components_that_are_not_exchangeable_have_no_order():
    with pytest.raises(pma.errors.InvalidArgumentError, match="no components are exchangeable"):
        pma.fit(build(order="transform"), order_by="mu", cache=False)


def test_an_order_is_kept_in_a_file():
    [order] = choose_orders(simulators_of("mixture")[0])
    assert CanonicalOrder.from_record(json.loads(json.dumps(order.as_record()))) == order


def flat(result, name):
    x = result["posterior"][name].to_numpy()
    return x.reshape(-1, *x.shape[2:])


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


def test_records_of_networks_without_an_order_are_read(trained):
    """Of those that were trained before there were any."""
    record = json.loads(json.dumps(trained("unordered")[1].record.as_record()))
    assert [str(order) for order in TrainingRecord.from_record(record).orders] == ["mu"]
    del record["orders"]
    assert TrainingRecord.from_record(record).orders == ()


def test_networks_in_different_orders_are_different(trained):
    model, posterior = trained("unordered")
    config = pma.TrainingConfig(steps=20, tolerance=None)
    options = {"training": config, "random_seed": 3, "progressbar": False}
    other = pma.fit(model, order_by="sigma", **options)
    assert other.record.fingerprint != posterior.record.fingerprint
    idata = other.sample(draws=500, random_seed=1)
    assert (np.diff(flat(idata, "sigma"), axis=1) > 0).all()
    assert idata["posterior"].attrs["labels_ordered_by"] == "sigma"


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
    with pytest.raises(pma.errors.InvalidArgumentError, match="'canonical', 'symmetric'"):
        pma.AmortizedSampler(labels="ordered")
