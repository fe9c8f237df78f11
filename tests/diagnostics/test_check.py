"""Checks of calibration: right answers pass, planted faults are found, and by what they should."""

import functools
import io
import re

import pytest
import rich
import xarray

from rich.console import Console

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError, UnsupportedModelError
from pymc_amortized.inference.correction.ladder import Corrector
from pymc_amortized.messages import PeriodicLog
from pymc_amortized.training import progress

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


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
    # Of indicators that are exact, no network has learned anything.
    assert list(report.delivered.reliability) == tables
    assert list(report.network.reliability) == ([] if has_density else tables)
    assert ("log likelihood" in report.delivered.pit) == has_density
    assert report.passed
    if not has_density:
        with pytest.raises(UnsupportedModelError, match="density"):
            posterior.check(30, around=posterior.sample(draws=50))


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


def shown_by(monkeypatch, *, terminal):
    """What is written from now on to a terminal of 80 columns, or to a file."""
    found = io.StringIO()
    options = {"color_system": None, "_environ": {}}
    console = Console(file=found, force_terminal=terminal, width=80, **options)
    monkeypatch.setattr(rich, "_console", console)
    monkeypatch.setattr(progress, "_SHOWN_AFTER", -1.0)
    monkeypatch.setattr(progress, "PeriodicLog", functools.partial(PeriodicLog, 0.0))
    return found


@pytest.mark.parametrize("near", [False, True], ids=["anywhere", "around"])
def test_data_sets_are_counted_and_draws_are_the_same(trained, monkeypatch, caplog, near):
    """In a terminal by a bar, in files by the log, or not at all."""
    _, posterior = trained("mixture")
    options = {"num_datasets": 40, "draws": 50, "random_seed": 3}
    if near:
        options["around"] = posterior.sample(draws=50, random_seed=1, progressbar=False)
    caplog.set_level("INFO", logger="pymc_amortized")
    caplog.clear()
    screen = shown_by(monkeypatch, terminal=True)
    by_bar = posterior.check(**options)
    assert not caplog.records
    text = re.sub(r"\x1b\[[0-9?;]*[a-zA-Z]", "", screen.getvalue())
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80
    file = shown_by(monkeypatch, terminal=False)
    by_log = posterior.check(**options)
    logged = [record.getMessage() for record in caplog.records]
    assert file.getvalue() == ""
    whats = ["answered by the network", "answered with correction"]
    for what in whats if near else [*whats, "with y_component drawn"]:
        assert re.search(f"Data sets {what} .* 40/40 0:00:\\d\\d left 0:00:00", text)
        assert any(re.search(f": 40 of 40 data sets {what}", line) for line in logged)
    caplog.clear()
    silent = posterior.check(**options, progressbar=False)
    assert not caplog.records
    for report in (by_bar, by_log):
        for one, other in ((report.network, silent.network), (report.corrected, silent.corrected)):
            xarray.testing.assert_identical(one.pit, other.pit)


def test_quick_checks_show_nothing(trained, monkeypatch):
    _, posterior = trained("normal_mean")
    screen = shown_by(monkeypatch, terminal=True)
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 1e9)
    posterior.check(20, draws=20, correction="none")
    assert screen.getvalue() == ""


def test_who_interrupts_gets_the_report_of_what_is_answered(trained, monkeypatch):
    """Of 48 data sets, 16 at a time: first by the network alone, then with correction."""
    _, posterior = trained("normal_mean")
    original, calls, last = Corrector.draw, [], []

    def draw(self, *args, **kwargs):
        calls.append(1)
        if len(calls) in last:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    def check(*call, **options):
        calls.clear()
        last[:] = call
        return posterior.check(48, 2, draws=50, progressbar=False, **options)

    monkeypatch.setattr(Corrector, "draw", draw)
    with pytest.warns(AccuracyWarning, match=r"of the 32 data sets, of 48,(.|\n)*num_datasets=32"):
        report = check(6)
    assert report.interrupted
    assert (report.network.num_datasets, report.corrected.num_datasets) == (48, 32)
    assert "16 data sets were not answered when interrupted" in repr(report)
    with pytest.warns(AccuracyWarning, match="of the 32 data sets"):
        assert check(3, correction="none").network.num_datasets == 32
    for call in (2, 3, 5):  # too few, or none of the answers that users get
        with pytest.raises(KeyboardInterrupt):
            check(call)
    assert not check().interrupted
