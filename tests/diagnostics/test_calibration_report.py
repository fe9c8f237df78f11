"""What a report says, and what it is made of."""

import arviz
import numpy as np
import pytest

from scipy import stats

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


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
