"""Checks of calibration: right answers pass, planted faults are found, and by what they should."""

import dataclasses

import arviz
import matplotlib
import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.diagnostics import (
    band_level,
    c2st,
    compare,
    expected_coverage,
    mmd,
    pit_values,
    recovery,
    reliability,
    sliced_wasserstein,
    tarp,
    uniformity,
)
from pymc_amortized.diagnostics.simulated_answers import answer, simulate
from pymc_amortized.errors import InvalidArgumentError, ObservationShapeError, UnsupportedModelError
from pymc_amortized.inference.indicators.markov import MarkovConditional

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)

PLOTS = ("sbc", "coverage", "recovery", "contraction", "reliability", "corrected")


def conjugate(rng, num_datasets=300, num_draws=500, scale=1.0, shift=0.0):
    """True values and draws of the exact posterior of a normal mean, stretched and moved."""
    mu = rng.normal(0, 2, num_datasets)
    y = rng.normal(mu[:, None], 1, (num_datasets, 5))
    sd = np.sqrt(1 / (1 / 4 + 5))
    noise = rng.normal(size=(num_draws, num_datasets))
    return mu, sd**2 * y.sum(1) + sd * (scale * noise + shift)


def test_p_values_of_right_posteriors_are_not_too_small():
    p_values = np.array(
        [uniformity(np.random.default_rng(seed).random(100)).p_value for seed in range(400)]
    )
    for level in (0.05, 0.2):
        # At most the level: three tests share it.
        assert (p_values < level).sum() < stats.binom.ppf(0.9995, 400, level)
        assert (p_values < level).sum() > stats.binom.ppf(0.0005, 400, level / 3)


def test_the_simultaneous_band_holds_as_often_as_it_says():
    points, low, high = band_level(80)
    inside = 0
    for seed in range(1_000):
        values = np.sort(np.random.default_rng(seed).random(80))
        share = np.searchsorted(values, points, side="right") / 80
        inside += bool(((low <= share) & (share <= high)).all())
        below = uniformity(values).log_gamma < 0
        if seed < 200:
            assert below != bool(((low <= share) & (share <= high)).all())
    assert abs(inside / 1_000 - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 1_000) + 0.005


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({}, None),
        ({"scale": 0.8}, "too narrow"),
        ({"scale": 1.25}, "too wide"),
        ({"shift": 0.3}, "too high"),
        ({"shift": -0.3}, "too low"),
    ],
)
def test_ranks_tell_what_is_wrong(fault, words):
    caught = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth, draws = conjugate(rng, **fault)
        found = uniformity(pit_values(draws, truth, rng))
        caught += found.p_value < 0.01
        assert words is None or found.in_words() == words
    assert caught <= 1 if words is None else caught >= 19


def test_ranks_of_discrete_quantities_are_uniform():
    """Many draws equal the true value: ties are broken at random."""
    rng = np.random.default_rng(0)
    truth, draws = rng.integers(3, size=2_000), rng.integers(3, size=(9, 2_000))
    values = pit_values(draws, truth, rng)
    assert stats.kstest(values, "uniform").pvalue > 0.001
    # A planted fault: ties counted as below.
    naive = ((draws <= truth).sum(0) + rng.random(2_000)) / 10
    assert stats.kstest(naive, "uniform").pvalue < 0.001


def test_coverage_is_counted_for_each_quantity():
    pit = np.stack([np.linspace(0.005, 0.995, 100), np.full(100, 0.5)], axis=1)
    found = expected_coverage(pit, np.array([0.1, 0.5]))
    assert np.allclose(found, [[0.1, 1], [0.5, 1]])


def test_tarp_sees_what_marginals_do_not():
    """Draws with the right margins and without their correlation."""
    rng = np.random.default_rng(0)
    cov = np.array([[1, 0.95], [0.95, 1]])
    truth = rng.multivariate_normal([0, 0], cov, 400)
    references = rng.permutation(truth)
    right = rng.multivariate_normal([0, 0], cov, (500, 400))
    wrong = rng.normal(size=(500, 400, 2))
    assert uniformity(tarp(right, truth, references)).p_value > 0.01
    assert uniformity(tarp(wrong, truth, references)).p_value < 0.001
    for d in range(2):
        assert uniformity(pit_values(wrong[..., d], truth[:, d], rng)).p_value > 0.001


def test_recovery_is_computed_over_data_sets():
    truth, draws = conjugate(np.random.default_rng(1), 400, 800)
    found = recovery(draws, truth)
    variance = 1 / (1 / 4 + 5)
    assert found.contraction == pytest.approx(1 - variance / truth.var(), abs=0.005)
    assert found.correlation > 0.95
    assert abs(found.z_score.std() - 1) < 0.15
    inside = (found.low < truth) & (truth < found.high)
    assert abs(inside.mean() - 0.9) < 3.5 * np.sqrt(0.09 / 400)


def memberships(seed, change=lambda p: p, num_datasets=300):
    """Exact probabilities of two components whose weight and distance differ between data sets."""
    rng = np.random.default_rng(seed)
    tables, codes = [], []
    for _ in range(num_datasets):
        w, mu = rng.beta(2, 2), rng.normal(2, 1)
        z = (rng.random(40) < w).astype(int)
        y = rng.normal(mu * z, 1)
        p = 1 / (1 + (1 - w) / w * np.exp(0.5 * (y - mu) ** 2 - 0.5 * y**2))
        tables.append(change(np.stack([1 - p, p], axis=-1)))
        codes.append(z)
    return tables, codes


def sharpened(p, power=1.5):
    return p**power / (p**power).sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p, None),
        (sharpened, "too near to 0 and 1"),
        (lambda p: p[:, ::-1], "too near to 0 and 1"),
        (lambda p: 0.8 * p + 0.1, "too far from 0 and 1"),
        (lambda p: p * [1, 0.8] + [0, 0] + p[:, 1:] * [0.2, 0], "too small for component 1"),
    ],
)
def test_probabilities_that_do_not_come_true(change, words):
    caught = 0
    for seed in range(20):
        found = reliability(*memberships(seed, change))
        caught += found.p_value < 0.01
        assert words is None or found.in_words() == words
    assert caught <= 1 if words is None else caught >= 19


def test_scores_of_probabilities():
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])
    z = np.array([0, 1, 1, 1])
    found = reliability([p, p], [z, z])
    assert found.brier == pytest.approx(np.mean([0.08, 0.18, 0.5, 1.62]))
    assert found.log_score == pytest.approx(-np.log([0.8, 0.7, 0.5, 0.1]).mean())
    assert np.allclose(found.confusion, [[1, 0], [2 / 3, 1 / 3]])
    assert found.counts.sum() == 16
    assert np.nansum(found.predicted * found.counts) == pytest.approx(8)


def test_errors_too_rare_to_be_seen_are_not_an_error():
    """Nobody is misclassified, and that is what probabilities say: their spread is no evidence."""
    p = np.tile([[1 - 1e-4, 1e-4], [1e-4, 1 - 1e-4]], (10, 1))
    assert reliability([p] * 100, [np.tile([0, 1], 10)] * 100).p_value > 0.01


def test_two_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 3))
    few = slice(100)
    assert abs(c2st(x[few], y[few]) - 0.5) < 3.5 * 0.5 / np.sqrt(200)
    assert c2st(x[few], y[few] + 1.5) > 0.8
    assert abs(mmd(x, y)) < 0.01 < mmd(x, y + 0.5)
    assert sliced_wasserstein(x, y) < 0.15 < sliced_wasserstein(x, y + 0.5)
    # In one dimension, SciPy's distance.
    found = sliced_wasserstein(x[:, :1], y[:, :1], num_projections=1)
    assert found == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]))


@pytest.fixture(scope="module")
def report(trained):
    _, posterior = trained("mixture")
    return posterior.check(num_datasets=40, draws=200, random_seed=1)


def test_a_report_says_what_passes(report):
    assert report.passed
    assert report.corrected.num_datasets == 40
    text = repr(report)
    assert "corrected answers: pass" in text
    assert "what to do:" in text
    assert "p(y_component): calibration error" in text
    assert "<li>corrected answers: pass" in report._repr_html_()
    table = report.table()
    assert set(table["answers"]) == {"auto", "network"}
    assert {"mu[c0]", "share of y_component[1]", "log likelihood", "joint", "p(y_component)"} < set(
        table["quantity"]
    )
    assert report.corrected.gaps["y_component"] > 0
    mean, error = report.negative_log_posterior
    assert np.isfinite(mean)
    assert 0 < error < 1


def test_the_same_seed_gives_the_same_report(trained, report):
    _, posterior = trained("mixture")
    again = posterior.check(num_datasets=40, draws=200, random_seed=1, correction="none")
    assert again.corrected is None
    assert again.network.pit.equals(report.network.pit)


def test_arviz_reads_it(report):
    idata = report.to_arviz()
    group = idata["prior_sbc"]
    assert group["mu"].dims == ("chain", "draw", "component")
    assert group["mu"].shape == (1, 40, 2)
    assert 0 < float(np.asarray(group["mu"]).min()) < float(np.asarray(group["mu"]).max()) < 1
    if hasattr(arviz, "plot_ecdf_pit"):
        arviz.plot_ecdf_pit(idata, var_names=["mu"])
    else:
        values = np.asarray(group["mu"])[0, :, 0]
        arviz.plot_ecdf(
            values,
            cdf=stats.uniform.cdf,
            eval_points=np.linspace(0, 1, 101),
            difference=True,
            confidence_bands=True,
        )


@pytest.mark.parametrize("plot", PLOTS)
def test_plots(report, plot):
    import matplotlib.pyplot as plt

    draw = getattr(pma.diagnostics, f"plot_{plot}")
    axes = draw(report)
    titles = [ax.get_title() for ax in axes]
    assert titles == list(dict.fromkeys(titles))
    name = "y_component" if plot == "reliability" else "mu"
    _, own = plt.subplots(1, 1 if plot == "reliability" else 2, squeeze=False)
    chosen = draw(report, var_names=[name], ax=own[0])
    assert chosen[0] is own[0, 0]
    assert chosen[0].get_xlabel()
    with pytest.raises(InvalidArgumentError, match="list of names among"):
        draw(report, var_names=["nu"])
    if plot != "reliability":
        with pytest.raises(InvalidArgumentError, match="Expected 2 axes"):
            draw(report, var_names=["mu"], ax=own[0, 0])
    plt.close("all")


def test_plots_of_the_training_and_of_the_data(trained):
    import matplotlib.pyplot as plt

    _, posterior = trained("mixture")
    assert len(pma.diagnostics.plot_history(posterior)) == 2
    [ax] = pma.diagnostics.plot_distance(posterior)
    assert ax.get_legend() is not None
    plt.close("all")


def moved(inference, answers, scale, shift):
    mean, sd = answers.scores.mean(0), answers.scores.std(0)
    scores = mean + scale * (answers.scores - mean) + shift * sd
    _, parameters, _ = inference.problem.parameters(scores)
    return dataclasses.replace(answers, scores=scores, parameters=parameters)


def test_planted_faults_are_found_where_they_are(trained):
    """In exact answers of 150 data sets: widths, means, labels and probabilities are tampered."""
    _, posterior = trained("mixture")
    inference = posterior.inference
    simulated = simulate(inference, 150, 3)
    found, kept = answer(inference, simulated, 200, "auto", torch.Generator().manual_seed(0))
    assert len(kept) == 150

    def with_tables(change):
        tables = {name: [change(p) for p in ps] for name, ps in found.probabilities.items()}
        return dataclasses.replace(found, probabilities=tables)

    def failed(answers):
        rng = np.random.default_rng(0)
        findings = compare(inference, "auto", answers, simulated, rng).findings()
        return {f.quantity: f.in_words for f in findings if not f.passed}

    assert failed(found) == {}
    narrow = failed(moved(inference, found, 0.6, 0.0))
    assert any(words == "posterior too narrow" for words in narrow.values())
    assert any(name.startswith(("mu", "w")) for name in failed(moved(inference, found, 1, 0.5)))
    for change in (lambda p: sharpened(p, 3), lambda p: p[:, ::-1]):
        assert set(failed(with_tables(change))) == {"p(y_component)"}


def test_around_the_observed_data(trained):
    _, posterior = trained("mixture")
    idata = posterior.sample(random_seed=1, draws=100)
    report = posterior.check(50, random_seed=1, draws=200, around=idata)
    assert report.passed
    assert "around the observed one" in repr(report)
    assert report.corrected.num_datasets == 50
    # Data sets are like the observed one: true values spread as its posterior does.
    spread = report.network.recovery["mu"].truth.std(0)
    assert (spread < 2 * np.asarray(idata.posterior["mu"]).std((0, 1))).all()
    with pytest.raises(InvalidArgumentError, match="at least as many draws"):
        posterior.check(1_000, around=idata)


@pytest.mark.parametrize(
    "name", ["chain", "chain_without_density", "g_and_k", "beta_bernoulli", "sized", "dwelling"]
)
def test_models_of_every_kind(trained, name):
    _, posterior = trained(name)
    report = posterior.check(30, random_seed=2, draws=100)
    has_density = posterior.spec.has_density
    assert (report.corrected is not None) == has_density
    tables = [s.name for s in posterior.spec.indicators]
    tables += [f"{s.name}, filtering" for s in posterior.spec.indicators if s.kind != "independent"]
    assert list(report.network.reliability) == tables
    assert ("log likelihood" in report.delivered.pit) == has_density
    assert report.passed
    if not has_density:
        with pytest.raises(UnsupportedModelError, match="density"):
            posterior.check(30, around=posterior.sample(draws=50))


def test_filtering_that_comes_late_is_found(trained, monkeypatch):
    """A planted fault: probabilities of filtering are those of the time point before."""
    _, posterior = trained("chain")

    right = MarkovConditional.draw

    def late(self, *args):
        found = right(self, *args)
        return dataclasses.replace(found, filtering=found.filtering.roll(1, 0))

    monkeypatch.setattr(MarkovConditional, "draw", late)
    report = posterior.check(50, random_seed=2, draws=50, correction="importance")
    failed = {finding.quantity for finding in report.corrected.findings() if not finding.passed}
    assert failed == {"p(z, filtering)"}


def test_too_few_data_sets(trained):
    _, posterior = trained("normal_mean")
    with pytest.raises(InvalidArgumentError, match="at least 20 data sets"):
        posterior.check(num_datasets=5)
    with pytest.raises(InvalidArgumentError, match="at least 20 data sets"):
        posterior.check(num_datasets=5, around=posterior.sample(draws=50))
    with pytest.raises(InvalidArgumentError, match="correction"):
        posterior.check(correction="perfect")
    report = posterior.check(num_datasets=20, correction="none", draws=50, random_seed=0)
    with pytest.raises(InvalidArgumentError, match="answers to be one of"):
        pma.diagnostics.plot_sbc(report, answers="corrected")
    with pytest.raises(InvalidArgumentError, match="answers to be one of"):
        report.to_arviz("correct")


def test_around_needs_a_network_for_the_size_of_the_model():
    """New data have the model's own size."""
    y = np.linspace(-2, 2, 12)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=y)
    config = pma.TrainingConfig(steps=20, tolerance=None)
    posterior = pma.fit(
        model, sizes={"y": (20, 30)}, training=config, random_seed=1, progressbar=False
    )
    idata = posterior.sample({"y": np.linspace(-2, 2, 25)}, random_seed=1)
    with pytest.raises(ObservationShapeError):
        posterior.check(50, around=idata)
