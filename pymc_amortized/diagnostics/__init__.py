"""Whether a network can be trusted: calibration, recovery, probabilities of indicators."""

from pymc_amortized.diagnostics.around import calibrate_around
from pymc_amortized.diagnostics.calibration_report import CalibrationReport
from pymc_amortized.diagnostics.check import calibrate, compare
from pymc_amortized.diagnostics.metrics.calibration import Calibration, Finding
from pymc_amortized.diagnostics.metrics.coverage import expected_coverage, tarp
from pymc_amortized.diagnostics.metrics.recovery import Recovery, recovery
from pymc_amortized.diagnostics.metrics.reliability import Reliability, reliability
from pymc_amortized.diagnostics.metrics.two_sample import c2st, mmd, sliced_wasserstein
from pymc_amortized.diagnostics.metrics.uniformity import (
    Uniformity,
    band_level,
    pit_values,
    uniformity,
)
from pymc_amortized.diagnostics.network_plots import plot_distance, plot_history
from pymc_amortized.diagnostics.plots import (
    plot_contraction,
    plot_corrected,
    plot_coverage,
    plot_recovery,
    plot_reliability,
    plot_sbc,
)

__all__ = [
    "Calibration",
    "CalibrationReport",
    "Finding",
    "Recovery",
    "Reliability",
    "Uniformity",
    "band_level",
    "c2st",
    "calibrate",
    "calibrate_around",
    "compare",
    "expected_coverage",
    "mmd",
    "pit_values",
    "plot_contraction",
    "plot_corrected",
    "plot_coverage",
    "plot_distance",
    "plot_history",
    "plot_recovery",
    "plot_reliability",
    "plot_sbc",
    "recovery",
    "reliability",
    "sliced_wasserstein",
    "tarp",
    "uniformity",
]
