"""Pictures of a check: each function returns matplotlib axes, one for each quantity."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymc_amortized.diagnostics.calibration_report import AnswersOf, CalibrationReport
from pymc_amortized.diagnostics.metrics.calibration import Calibration, entries
from pymc_amortized.diagnostics.metrics.coverage import expected_coverage
from pymc_amortized.diagnostics.metrics.uniformity import band_level
from pymc_amortized.errors import InvalidArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = [
    "plot_contraction",
    "plot_corrected",
    "plot_coverage",
    "plot_recovery",
    "plot_reliability",
    "plot_sbc",
]

_COLORS = {"network": "C1", "corrected": "C0"}
_COLUMNS = 4
_PANEL = (2.7, 2.5)


def plot_sbc(
    report: CalibrationReport,
    *,
    answers: AnswersOf | None = None,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw the empirical distribution of ranks less the uniform one, with a simultaneous band.

    A right posterior stays within the band (95 %). A slope through the middle, low at the left and
    high at the right, is a posterior that is too wide; the opposite, one that is too narrow; a
    curve above zero, one that is too high, for true values are then low among its draws.

    Parameters
    ----------
    report : CalibrationReport
        Of :meth:`AmortizedPosterior.check`.
    answers : {"network", "corrected"}, optional
        Whose. Default: those that users get.
    var_names : sequence of str, optional
        Variables, by their names in ``report.network.pit``. Default: all.
    ax : matplotlib axes, or a sequence of them, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib axes
        One for each scalar.
    """
    calibration, color = _choose_calibration(report, answers)
    chosen = list(_scalars(calibration, var_names))
    axes = panels(ax, len(chosen))
    points, low, high = band_level(calibration.num_datasets)
    for panel, (label, values) in zip(axes, chosen, strict=True):
        panel.fill_between(points, low - points, high - points, color="0.88", step="mid")
        ordered = np.sort(values)
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        panel.plot(ordered, share - ordered, color=color, drawstyle="steps-post")
        panel.axhline(0, color="0.5", lw=0.8)
        panel.set(
            title=label, xlabel="rank of the true value", ylabel="ECDF - uniform", xlim=(0, 1)
        )
    return axes


def plot_coverage(
    report: CalibrationReport,
    *,
    answers: AnswersOf | None = None,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw how often central intervals hold the true value, against their level.

    On the diagonal intervals are right; below it they are too narrow. The band holds 95 % of such
    points, one by one. Parameters and returned axes are those of :func:`plot_sbc`.
    """
    from scipy import stats

    calibration, color = _choose_calibration(report, answers)
    chosen = list(_scalars(calibration, var_names))
    axes = panels(ax, len(chosen))
    levels = np.linspace(0.02, 0.98, 49)
    num = calibration.num_datasets
    low, high = (stats.binom.ppf(q, num, levels) / num for q in (0.025, 0.975))
    for panel, (label, values) in zip(axes, chosen, strict=True):
        panel.fill_between(levels, low, high, color="0.88")
        panel.plot([0, 1], [0, 1], color="0.5", lw=0.8)
        panel.plot(levels, expected_coverage(values, levels), color=color)
        panel.set(title=label, xlabel="level of the interval", ylabel="holds the true value")
    return axes


def plot_recovery(
    report: CalibrationReport,
    *,
    answers: AnswersOf | None = None,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw means and 90 % intervals of posteriors against true values.

    Parameters and returned axes are those of :func:`plot_sbc`; ``var_names`` are parameters.
    """
    calibration, color = _choose_calibration(report, answers)
    chosen = list(_find_recoveries(calibration, var_names))
    axes = panels(ax, len(chosen))
    for panel, (label, found) in zip(axes, chosen, strict=True):
        truth, mean, low, high, _ = found
        panel.vlines(truth, low, high, color=color, alpha=0.25, lw=0.8)
        panel.plot(truth, mean, ".", color=color, ms=3)
        ends = [truth.min(), truth.max()]
        panel.plot(ends, ends, color="0.3", lw=0.8)
        correlation = np.corrcoef(truth, mean)[0, 1]
        panel.set(title=f"{label} (r = {correlation:.2f})", xlabel="true value", ylabel="posterior")
    return axes


def plot_contraction(
    report: CalibrationReport,
    *,
    answers: AnswersOf | None = None,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw z-scores of posteriors against their contraction, a point for each data set.

    Contraction is 1 where data leave nothing of the prior's variance. z-scores beyond 3 should be
    rare at any contraction. Parameters and returned axes are those of :func:`plot_sbc`;
    ``var_names`` are parameters.
    """
    calibration, color = _choose_calibration(report, answers)
    chosen = list(_find_recoveries(calibration, var_names))
    axes = panels(ax, len(chosen))
    for panel, (label, found) in zip(axes, chosen, strict=True):
        truth, mean, _, _, sd = found
        panel.plot(1 - sd**2 / truth.var(), (mean - truth) / sd, ".", color=color, ms=3)
        for height in (-3, 0, 3):
            panel.axhline(height, color="0.5", lw=0.8, ls="-" if height == 0 else ":")
        panel.set(title=label, xlabel="contraction", ylabel="z-score", xlim=(None, 1.02))
    return axes


def plot_reliability(
    report: CalibrationReport,
    *,
    answers: AnswersOf | None = None,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw how often units belong to a component, against the probability that was said.

    Points have the area of their number of units. An S through the diagonal is a classifier whose
    probabilities are too far from 0 and 1, the opposite one whose are too near. Parameters and
    returned axes are those of :func:`plot_sbc`; ``var_names`` are indicators.
    """
    calibration, _ = _choose_calibration(report, answers)
    tables = _group_by_name(calibration.reliability, var_names)
    axes = panels(ax, len(tables))
    for panel, (name, table) in zip(axes, tables.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.5", lw=0.8)
        for k in range(table.predicted.shape[1]):
            there = table.counts[:, k] > 0
            size = 90 * table.counts[there, k] / table.counts[:, k].max() + 4
            x, y = table.predicted[there, k], table.observed[there, k]
            panel.plot(x, y, color=f"C{k}", lw=0.8)
            panel.scatter(x, y, size, color=f"C{k}", label=f"{k}")
        panel.legend(title="component", frameon=False)
        panel.set(title=f"p({name})", xlabel="said", ylabel="found", xlim=(0, 1), ylim=(0, 1))
    return axes


def plot_corrected(
    report: CalibrationReport,
    *,
    var_names: Sequence[str] | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> np.ndarray:
    """Draw means of the network's posteriors against corrected ones, with standard deviations.

    Points off the diagonal are data sets for which the network alone would have been wrong.
    Parameters and returned axes are those of :func:`plot_sbc`; ``var_names`` are parameters.

    Raises
    ------
    InvalidArgumentError
        If the report has no corrected answers.
    """
    corrected, _ = _choose_calibration(report, "corrected")
    if corrected.num_datasets != report.network.num_datasets:
        raise InvalidArgumentError(
            "Expected an answer for each data set; some could not be corrected, so that answers "
            "cannot be compared one by one."
        )
    pairs = zip(
        _find_recoveries(report.network, var_names),
        _find_recoveries(corrected, var_names),
        strict=True,
    )
    chosen = [(label, network, found) for (label, network), (_, found) in pairs]
    axes = panels(ax, len(chosen))
    for panel, (label, (_, mean, _, _, sd), (_, right, _, _, right_sd)) in zip(
        axes, chosen, strict=True
    ):
        panel.errorbar(
            right, mean, yerr=sd, xerr=right_sd, fmt=".", color="C1", ms=3, lw=0.5, alpha=0.5
        )
        ends = [right.min(), right.max()]
        panel.plot(ends, ends, color="0.3", lw=0.8)
        panel.set(title=label, xlabel="corrected", ylabel="network alone")
    return axes


def _choose_calibration(
    report: CalibrationReport, answers: AnswersOf | None
) -> tuple[Calibration, str]:
    calibration = report.chosen(answers)
    return calibration, _COLORS["network" if calibration is report.network else "corrected"]


def _group_by_name(found: Any, var_names: Sequence[str] | None) -> dict[str, Any]:
    """Return variables by name, in the order asked for."""
    names = list(found) if var_names is None else var_names
    if isinstance(names, str) or any(name not in found for name in names):
        raise InvalidArgumentError(
            f"Expected var_names to be a list of names among {list(found)}; got {var_names!r}."
        )
    return {name: found[name] for name in names}


def _scalars(
    calibration: Calibration, var_names: Sequence[str] | None
) -> Iterator[tuple[str, np.ndarray]]:
    for array in _group_by_name(dict(calibration.pit.data_vars), var_names).values():
        yield from entries(array)


def _find_recoveries(
    calibration: Calibration, var_names: Sequence[str] | None
) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    """Yield truth, mean, interval and sd (B,) of each scalar parameter by its label."""
    for name, found in _group_by_name(calibration.recovery, var_names).items():
        columns = [
            x.reshape(len(x), -1)
            for x in (found.truth, found.mean, found.low, found.high, found.sd)
        ]
        for i, (label, _) in enumerate(entries(calibration.pit[name])):
            yield label, tuple(column[:, i] for column in columns)


def panels(ax: Any, count: int) -> np.ndarray:
    """Return as many axes as there are quantities: those given, or those of a new figure."""
    if ax is not None:
        given = np.ravel(np.asarray(ax, dtype=object))
        if len(given) != count:
            raise InvalidArgumentError(
                f"Expected {count} axes, one for each quantity; got {len(given)}. Choose fewer:"
                '\n\n    var_names=["mu"]'
            )
        return given
    import matplotlib.pyplot as plt

    columns = min(_COLUMNS, max(1, count))
    rows = -(-count // columns)
    size = (_PANEL[0] * columns, _PANEL[1] * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for empty in grid.flat[count:]:
        empty.remove()
    return grid.flatten()[:count]
