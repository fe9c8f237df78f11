"""Numbers of components are compared by evidences that are known in closed form."""

import itertools

import numpy as np
import pymc as pm
import pytest

from scipy import stats
from scipy.special import logsumexp, softmax

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError, InvalidDataError

OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False, "draws": 500}
Y = np.array([-1.9, -1.4, -2.2, -1.7, 1.8, 2.3, 1.5, 2.0])


def build(number, y=Y):
    """Components of known spread, whose means have been summed out by hand below."""
    with pm.Model() as model:
        if number == 1:
            mu = pm.Normal("mu", 0, 2)
            pm.Normal("y", mu, 1, observed=y)
        else:
            mu = pm.Normal("mu", 0, 2, shape=number)
            w = np.full(number, 1 / number)
            pm.NormalMixture("y", w, mu, 1, observed=y)
    return model


def exact_log_evidence(number):
    """Sum over all ways to put units into components, each conjugate."""

    def of_component(values):
        n = len(values)
        covariance = np.eye(n) + 4.0 * np.ones((n, n))
        return stats.multivariate_normal(np.zeros(n), covariance).logpdf(values) if n else 0.0

    known = {}
    terms = []
    for labels in itertools.product(range(number), repeat=len(Y)):
        total = 0.0
        for k in range(number):
            members = tuple(i for i, label in enumerate(labels) if label == k)
            if members not in known:
                known[members] = of_component(Y[list(members)])
            total += known[members]
        terms.append(total)
    return logsumexp(terms) - len(Y) * np.log(number)


@pytest.fixture(scope="module")
def found():
    return pma.number_of_components(build, (1, 2, 3), **OPTIONS)


def test_probabilities_are_those_of_the_closed_form(found):
    """Of components that are answered in one labelling, too: K! of them are the same posterior."""
    exact = np.array([exact_log_evidence(k) for k in (1, 2, 3)])
    error = np.abs(found.log_evidence - exact)
    assert (error < 4.5 * found.log_evidence_error + 0.01).all()
    assert np.abs(found.probabilities - softmax(exact)).max() < 0.02
    assert found.best == 1 + int(exact.argmax())
    assert np.ptp(exact) > 1


def test_the_table_has_both_criteria(found):
    table = found.table()
    assert table.index.tolist() == [1, 2, 3]
    assert table["probability"].sum() == pytest.approx(1)
    assert found.best_by_loo in (1, 2, 3)
    assert table["elpd_loo"].idxmax() == found.best_by_loo
    assert (table["elpd_loo"] < -5).all()
    assert "Most probable number of components: 2" in repr(found)
    assert "<table" in found._repr_html_()
    for number, result in found.results.items():
        assert result["posterior"]["mu"].sizes.get("mu_dim_0", 1) == number


def test_a_prior_of_the_number_counts():
    only = pma.number_of_components(build, (1, 2), prior=(1, 0), compare=False, **OPTIONS)
    assert only.probabilities.tolist() == [1.0, 0.0]
    assert only.comparison is None
    assert "elpd_loo" not in only.table()


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
def test_answers_that_are_not_accepted_have_no_evidence():
    """A planted fault: draws of a network that nothing has checked prefer no number."""
    brief = pma.TrainingConfig(steps=5, tolerance=None, num_validation=32, batch_size=32)
    options = {**OPTIONS, "correction": "none", "training": brief, "compare": False}
    with pytest.warns(AccuracyWarning) as caught:
        found = pma.number_of_components(build, (1, 2), **options)
    assert any("[1, 2] components is not known" in str(w.message) for w in caught)
    assert np.isnan(found.probabilities).all()
    assert found.best == 1
    assert "p = 0.00" in repr(found)


def test_criteria_that_disagree_are_said():
    """A prior of the number that all but excludes two of them, which predict better."""

    def vague(number):
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 3_000 if number > 1 else 3, shape=number)
            if number == 1:
                pm.Normal("y", mu, 1.5, observed=np.tile(Y, 2))
            else:
                pm.NormalMixture("y", [0.5, 0.5], mu, 0.5, observed=np.tile(Y, 2))
        return model

    with pytest.warns(UserWarning, match="cross-validation") as caught:
        found = pma.number_of_components(vague, (1, 2), prior=(1, 1e-30), **OPTIONS)
    assert (found.best, found.best_by_loo) == (1, 2)
    assert caught[-1].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((2,),), InvalidArgumentError, "at least two different"),
        (((2, 2),), InvalidArgumentError, "at least two different"),
        (((0, 1),), InvalidArgumentError, "at least two different"),
        (((1, 2.5),), InvalidArgumentError, "at least two different"),
    ],
)
def test_bad_numbers(arguments, error, match):
    with pytest.raises(error, match=match):
        pma.number_of_components(build, *arguments, **OPTIONS)


@pytest.mark.parametrize("prior", [(1.0,), (0, 0), (1, -1)])
def test_bad_priors(prior):
    with pytest.raises(InvalidArgumentError, match="prior probability for each"):
        pma.number_of_components(build, (1, 2), prior=prior, **OPTIONS)


def test_models_of_other_data_are_refused():
    with pytest.raises(InvalidDataError, match=r"`build\(2\)`"):
        pma.number_of_components(lambda k: build(k, Y + k), (1, 2), compare=False, **OPTIONS)
    with pytest.raises(InvalidArgumentError, match=r"to return a pymc\.Model; got NoneType"):
        pma.number_of_components(lambda k: None, (1, 2), **OPTIONS)
