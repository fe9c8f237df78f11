"""Training in rounds for one data set: the region, the answer, what is kept, what is refused."""

import dataclasses

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
    InvalidDataError,
    ObservationShapeError,
    TrainingInterruptedWarning,
    UnsupportedModelError,
)
from pymc_amortized.fitting import sequential
from pymc_amortized.fitting.posterior_region import PosteriorRegion
from pymc_amortized.inference.assembly import lay_out, problem_in_scores
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.restricted_simulations import RestrictedSimulations
from pymc_amortized.simulation.simulator import Simulator
from tests.training.short_runs import interrupt_at

Y = np.random.default_rng(3).normal(1.0, 1.0, 20)
GROUPED = Y + 4 * (np.arange(20) < 8)
PRECISION = 1 / 25 + 20
CONFIG = pma.TrainingConfig(steps=300, batch_size=128, simulations=1_500, tolerance=1e-9)
FEW = dataclasses.replace(CONFIG, steps=20)
QUIET = {"random_seed": 1, "progressbar": False}
pytestmark = pytest.mark.usefixtures("interpreted")


def draw_mean(mu, rng=None, size=None):
    return rng.normal(mu, 1.0, size)


def wide_prior(known=False):
    """A mean whose posterior is 22 times narrower than its prior; 20 values of which are seen."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        if known:
            pm.Normal("y", mu, 1, observed=Y)
        else:
            pm.CustomDist("y", mu, random=draw_mean, observed=Y)
    return model


def two_groups():
    with pm.Model() as model:
        weight = pm.Beta("weight", 2, 2)
        shift = pm.Normal("shift", 0, 5)
        z = pm.Bernoulli("z", weight, shape=20)
        pm.Normal("y", shift + 4 * z, 1, observed=GROUPED)
    return model


def memberships():
    """p(z = 1 given y) of each unit, by sums over a grid of parameters."""
    weight, shift = np.meshgrid(np.linspace(0.005, 0.995, 199), np.linspace(-2, 4, 601))
    at = weight[..., None], shift[..., None]
    one = at[0] * stats.norm(at[1] + 4, 1).pdf(GROUPED)
    none = (1 - at[0]) * stats.norm(at[1], 1).pdf(GROUPED)
    density = stats.beta(2, 2).pdf(weight) * stats.norm(0, 5).pdf(shift)
    density = (density * np.prod(one + none, -1))[..., None]
    return (density * one / (one + none)).sum((0, 1)) / density.sum()


def fit(model=None, **options):
    asked = {"data": {"y": Y}, "rounds": 3, "training": CONFIG, "cache": False, **QUIET}
    return pma.fit(model or wide_prior(), **(asked | options))


@pytest.fixture(scope="module")
def posterior():
    return fit()


def counted(monkeypatch):
    """Count data sets that are simulated, and keep the parameters they are simulated from."""
    calls = []
    original = Simulator._simulate

    def simulate(self, parameters, num_datasets, *rest):
        calls.append(parameters["mu"])
        return original(self, parameters, num_datasets, *rest)

    monkeypatch.setattr(Simulator, "_simulate", simulate)
    return calls


def test_the_answer_is_the_posterior(posterior):
    """A network that has seen 1,500 data sets, a thousand of them where the posterior is."""
    assert (posterior.record.rounds, posterior.record.simulations) == (3, 1_500)
    with pytest.warns(AccuracyWarning, match="could not be checked"):
        idata = posterior.sample(draws=2_000, **QUIET)
    mu = np.asarray(idata.posterior["mu"]).ravel()
    mean, sd = Y.sum() / PRECISION, PRECISION**-0.5
    assert abs(mu.mean() - mean) < 0.3 * sd
    assert 0.75 < mu.std() / sd < 1.3
    at = {"mu": np.linspace(mean - sd, mean + sd, 5)}
    log_q = posterior.log_prob(at, {"y": Y})
    assert log_q == pytest.approx(stats.norm(mean, sd).logpdf(at["mu"]), abs=0.4)


def test_later_rounds_simulate_where_the_posterior_is(monkeypatch):
    calls = counted(monkeypatch)
    read = compile_simulator(wide_prior())  # which simulates too
    already = len(calls)
    fit()
    first, *rest = np.split(torch.cat(calls[already * 2 :]).numpy(), [500, 1_000])
    assert (len(first), [len(x) for x in rest]) == (500, [500, 500])
    assert 4 < first.std() < 6
    mean, sd = Y.sum() / PRECISION, PRECISION**-0.5
    for later in rest:
        assert np.abs(later - mean).max() < 12 * sd
        assert later.min() < mean - 2 * sd < mean + 2 * sd < later.max()
    assert read.num_simulated == 0


def source_of(model):
    simulator = compile_simulator(model)
    return problem_in_scores(simulator, lay_out(simulator, None), 1).source


@pytest.mark.parametrize("faulty", [False, True])
def test_simulations_in_a_region_are_of_the_prior_cut_to_it(faulty):
    """Against the truncated normal distribution; the planted fault takes the next best ones."""
    source = source_of(wide_prior())

    def contains(parameters):
        return parameters["mu"].abs() < (6.0 if faulty else 5.0)

    restricted = RestrictedSimulations(source, contains)
    parameters, frames, _ = restricted.draw_frames(3_000, 4)
    mu = parameters["mu"].numpy()
    p_value = stats.kstest(mu, stats.truncnorm(-1, 1, 0, 5).cdf).pvalue
    assert (p_value > 0.001) is not faulty
    errors = frames.observations["y"][:, 0].mean(-1).numpy() - mu
    assert stats.kstest(errors, stats.norm(0, 20**-0.5).cdf).pvalue > 0.001
    share = stats.norm(0, 5).cdf(6.0 if faulty else 5.0) * 2 - 1
    assert restricted.share_of_prior(20_000, 1) == pytest.approx(share, abs=0.015)


def test_a_region_holds_all_but_a_thousandth_of_the_network(posterior):
    inference = posterior.inference
    dataset = inference.read({"y": Y})
    context = inference.context(dataset.smooth)
    region = PosteriorRegion.of_draws(inference, context, 1)
    scores, _ = inference.draw_scores(context, 20_000, torch.Generator().manual_seed(2))
    space = inference.problem.space
    inside = region.contains(space.constrain(space.unstandardize(scores[:, 0])[0]))
    # Binomial, with an expected 20 outside; those beyond all draws of before come in addition.
    assert 2 <= int((~inside).sum()) <= 50
    assert not bool(region.contains({"mu": torch.tensor([-20.0, 20.0]).double()}).any())


def test_it_answers_that_data_set_only(posterior, tmp_path):
    posterior.save(tmp_path / "one.pma")
    for one in (posterior, pma.load(tmp_path / "one.pma", wide_prior())):
        assert "one data set alone" in repr(one)
        with pytest.raises(InvalidDataError, match="trained for, in rounds; got another"):
            one.sample({"y": Y + 1}, **QUIET)
        with pytest.raises(InvalidDataError, match="trained for, in rounds"):
            one.log_prob({"mu": np.zeros(3)}, {"y": Y[::-1]})
        with pytest.raises(InvalidDataError, match="trained for, in rounds"):
            one.sample_many([{"y": Y + 1}, {"y": Y + 2}], **QUIET)
        with pytest.raises(InvalidArgumentError, match="answers any data set, for a check"):
            one.check(20, **QUIET)
        with pytest.warns(AccuracyWarning):
            many = one.sample_many([{"y": Y.tolist()}, {"y": Y + 2}], draws=10, **QUIET)
        assert many.answers["checked"].values.tolist()[0] == "no"
        assert "in rounds" in str(many.answers["error"].values[1])


def test_a_density_corrects_it():
    """Draws of the region's network lead to the posterior under the whole prior."""
    posterior = fit(wide_prior(known=True))
    assert np.isnan(posterior.record.accepted_share)
    assert "of each answer" in repr(posterior)
    idata = posterior.sample(draws=1_000, **QUIET)
    assert idata.posterior.attrs["checked"] == "accepted"
    mu = np.asarray(idata.posterior["mu"]).ravel()
    error = abs(mu.mean() - Y.sum() / PRECISION) * PRECISION**0.5
    assert error < 3.5 / np.sqrt(1_000)
    assert mu.std() * PRECISION**0.5 == pytest.approx(1, abs=0.06)


def test_rounds_end_when_the_network_does_not_move():
    posterior = fit(rounds=5, training=dataclasses.replace(CONFIG, tolerance=50.0))
    assert (posterior.record.rounds, posterior.record.simulations) == (2, 600)


def test_a_region_that_is_too_small_for_rejection_is_left_wider(monkeypatch, caplog):
    monkeypatch.setattr(sequential, "_LEAST_SHARE", 0.5)
    caplog.set_level("INFO")
    fit(training=FEW)
    assert caplog.text.count("from 100.00% of the prior") == 2


def test_what_an_interrupted_run_has_simulated_is_not_simulated_again(monkeypatch, tmp_path):
    whole = fit(training=FEW)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 10)
        with pytest.warns(TrainingInterruptedWarning):
            fit(cache=tmp_path, training=FEW)
    steps = []

    def stop(step, losses):
        steps.append(step)
        if len(steps) == 15:  # 10 of the first round are done already
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError, match="power"):
        fit(cache=tmp_path, training=FEW, callback=stop, random_seed=2)
    drawn = []
    draw = sequential.draw_table

    def draw_table(source, number, *rest, **options):
        before = source.simulator.num_simulated
        table = draw(source, number, *rest, **options)
        drawn.append(source.simulator.num_simulated - before)
        return table

    monkeypatch.setattr(sequential, "draw_table", draw_table)
    posterior = fit(cache=tmp_path, training=FEW, random_seed=3)  # the first seed is kept
    assert drawn == [0, 0, 500]
    assert (posterior.record.simulations, posterior.record.steps) == (1_500, 60)
    at = {"mu": np.linspace(0.5, 1.5, 5)}
    assert posterior.log_prob(at) == pytest.approx(whole.log_prob(at), abs=1e-4)
    assert {p.suffix for p in tmp_path.iterdir()} == {".network"}
    fit(cache=tmp_path, training=FEW)
    assert len(drawn) == 3


def test_indicators_are_answered_too():
    posterior = fit(two_groups(), data={"y": GROUPED}, rounds=2)
    idata = posterior.sample(draws=1_000, **QUIET)
    assert idata.posterior.attrs["checked"] == "accepted"
    z = np.asarray(idata.indicators["z"]).mean((0, 1))
    assert z == pytest.approx(memberships(), abs=0.05)  # 5 standard errors of 2,500 draws at 0.5


WRONG = [
    ({"data": None}, "got rounds without data"),
    ({"rounds": None}, "got data without rounds"),
    ({"rounds": 0}, "got rounds=0"),
    ({"rounds": 2.5}, "got rounds=2.5"),
    ({"rounds": True}, "got rounds=True"),
    ({"sizes": {"y": (5, 50)}}, "got sizes, or simulations"),
    ({"simulations": {"mu": np.zeros(200), "y": np.zeros((200, 20))}}, "got sizes, or simulations"),
    ({"training": "none"}, 'got training="none"'),
    ({"networks": pma.Networks(posterior="auto")}, "got a choice of posterior networks"),
    ({"networks": pma.Networks(posterior=pma.ConditionalPriorVAE)}, "whose density is known"),
    ({"rounds": 20}, "at least 100 simulations in each of 20 rounds; got 1,500 in all"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_cannot_be_asked_for(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        fit(**options)


def test_data_that_are_not_of_the_model():
    with pytest.raises(InvalidDataError, match="x"):
        fit(data={"x": Y})
    with pytest.raises(ObservationShapeError, match=r"own size.* 'y' has shape \(10,\)"):
        fit(data={"y": Y[:10]})


def test_a_model_of_indicators_alone():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.5, shape=20)
        pm.Normal("y", 4.0 * z, 1, observed=Y)
    with pytest.raises(UnsupportedModelError, match="indicators alone"):
        fit(model)
