"""Simulated data sets and their answers, with faults planted in them."""

import dataclasses

import numpy as np
import pytest
import torch

from pymc_amortized.diagnostics import (
    compare,
)
from pymc_amortized.diagnostics.simulated_answers import answer, simulate
from pymc_amortized.inference.indicators.markov import MarkovConditional
from tests.diagnostics.right_posteriors import sharpened

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


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
