"""What a check has found, in words, numbers and data for plots."""

import html

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pymc_amortized.compat import result_of_groups
from pymc_amortized.diagnostics.metrics.calibration import Calibration, entries
from pymc_amortized.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pandas

__all__ = ["AnswersOf", "CalibrationReport"]

AnswersOf = Literal["network", "corrected"]
"""Whose answers are looked at."""

_FAILED = "could not be answered"


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """Whether answers can be trusted, by data sets whose true values are known.

    Print it: it says what passes, what fails, and what to do. Every quantity is tested; a right
    posterior passes all tests together at least 99 times in 100.

    Attributes
    ----------
    observed : tuple of str
        Names of the observed variables.
    network : Calibration
        Of the network alone.
    corrected : Calibration or None
        Of its corrected answers; None where there is no density, or it was not asked for.
    num_datasets, num_draws : int
        B and S.
    negative_log_posterior : (float, float)
        Mean of -log q(θ given y) at true values, in nats over standardized parameters, and its
        standard error: the smaller, the better.
    seconds : float
        That the check took.
    around : bool
        Whether data sets are like the observed one, instead of like any that the prior allows.
    labels : tuple of str
        What is to be known of the labels of components that are exchangeable; empty where none are.
    interrupted : bool
        Whether the user did not wait for the answers of all data sets.
    """

    observed: tuple[str, ...]
    network: Calibration
    corrected: Calibration | None
    num_datasets: int
    num_draws: int
    negative_log_posterior: tuple[float, float]
    seconds: float
    around: bool = False
    labels: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def delivered(self) -> Calibration:
        """The answers that users get: corrected, where that is possible."""
        return self.network if self.corrected is None else self.corrected

    @property
    def passed(self) -> bool:
        """Whether the answers that users get pass all tests."""
        return self.delivered.passed

    def chosen(self, answers: AnswersOf | None = None) -> Calibration:
        """Return those of the network or corrected ones; by default, those that users get.

        Raises
        ------
        InvalidArgumentError
            If the report has no such answers.
        """
        found = {"network": self.network, "corrected": self.corrected, None: self.delivered}
        if found.get(answers) is None:
            known = [name for name, value in found.items() if name and value is not None]
            raise InvalidArgumentError(f"Expected answers to be one of {known}; got {answers!r}.")
        return found[answers]

    def to_arviz(self, answers: AnswersOf | None = None) -> Any:
        """Return InferenceData or a DataTree with the group ``prior_sbc``.

        In it, probability integral transforms have dims (chain, draw, *dims), and ``draw`` counts
        data sets: ``arviz.plot_ecdf_pit`` (ArviZ 1.x) draws them.

        Parameters
        ----------
        answers : {"network", "corrected"}, optional
            Whose. Default: those that users get.

        Raises
        ------
        InvalidArgumentError
            If the report has no such answers.
        """
        return result_of_groups({"prior_sbc": self.chosen(answers).pit})

    def table(self) -> "pandas.DataFrame":
        """Return a row for each tested quantity and for each kind of answers."""
        import pandas

        rows = [
            {
                "answers": calibration.answers,
                "quantity": finding.quantity,
                "passed": finding.passed,
                "p_value": finding.p_value,
                "log_gamma": finding.log_gamma,
                "if it fails": finding.in_words,
            }
            for calibration in self._calibrations()
            for finding in calibration.findings()
        ]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *(f"  {line}" for line in self._lines())])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line.strip())}</li>" for line in self._lines())
        return f"<p><b>{html.escape(self._headline())}</b></p><ul>{items}</ul>"

    def _calibrations(self) -> Iterator[Calibration]:
        if self.corrected is not None:
            yield self.corrected
        yield self.network

    def _headline(self) -> str:
        return (
            f"CalibrationReport of {', '.join(self.observed)}: {self.num_datasets:,} simulated "
            f"data sets{' around the observed one' if self.around else ''} with "
            f"{self.num_draws:,} draws each, in {self.seconds:.0f} s"
        )

    def _lines(self) -> Iterator[str]:
        for calibration in self._calibrations():
            yield from _verdict(calibration)
            if failed := self.num_datasets - calibration.num_datasets:
                why = "were not answered when interrupted" if self.interrupted else _FAILED
                yield f"  {failed} data sets {why}, and are left out"
        yield from self.labels
        known = self.delivered.pareto_k[~np.isnan(self.delivered.pareto_k)]
        if len(known):
            yield f"Pareto k of the network: below 0.7 for {np.mean(known < 0.7):.0%} of data sets"
        mean, error = self.negative_log_posterior
        if not np.isnan(mean):
            yield f"negative log posterior of the network: {mean:.2f} ± {error:.2f} nats"
        yield f"what to do: {self._advice()}"

    def _advice(self) -> str:
        longer = (
            'train longer, by training="thorough", or with a larger network, by '
            "networks=pma.Networks(...)"
        )
        if self.corrected is None:
            return "nothing" if self.passed else f"{longer}; intervals are wrong as said above"
        if not self.corrected.passed:
            return (
                'do not trust these answers; compare them with correction="mcmc" on a few data sets'
            )
        if not self.network.passed:
            return f'keep correction="auto", for the network alone is not calibrated; or {longer}'
        return "nothing"


def _verdict(calibration: Calibration) -> Iterator[str]:
    """Say what passes and what fails."""
    name = "network alone" if calibration.answers == "network" else "corrected answers"
    findings = calibration.findings()
    failed = sorted((f for f in findings if not f.passed), key=lambda f: f.p_value)
    said = "pass" if not failed else f"FAIL in {len(failed)} of {len(findings)} quantities"
    if calibration.answers == "network":
        said = said.replace("pass", "passes").replace("FAIL", "FAILS")
    rungs = ""
    if calibration.answers != "network":
        counts = {rung: calibration.rungs.count(rung) for rung in dict.fromkeys(calibration.rungs)}
        accepted = sum(a is True for a in calibration.accepted) / calibration.num_datasets
        by = ", ".join(f"{rung} {count}" for rung, count in counts.items())
        rungs = f" ({accepted:.0%} accepted; by {by})"
    yield f"{name}: {said}{rungs}"
    for finding in failed[:8]:
        yield f"  {finding.quantity}: {finding.in_words} (p = {finding.p_value:.1g})"
    if len(failed) > 8:
        yield f"  and {len(failed) - 8} more: see .table()"
    contraction = {
        label: value
        for variable, found in calibration.recovery.items()
        for label, value in _label_values(calibration, variable, found.contraction)
    }
    if contraction:
        shown = ", ".join(f"{label} {value:.2f}" for label, value in contraction.items())
        yield f"  contraction: {shown}"
    for variable, table in calibration.reliability.items():
        gap = calibration.gaps.get(variable)
        exact = "" if gap is None else f", {gap:.4f} nats from the exact ones by the network"
        yield (
            f"  p({variable}): calibration error {table.calibration_error:.4f}, Brier "
            f"{table.brier:.3f}, log score {table.log_score:.3f} nats{exact}"
        )


def _label_values(
    calibration: Calibration, variable: str, values: np.ndarray
) -> Iterator[tuple[str, float]]:
    labels = [label for label, _ in entries(calibration.pit[variable])]
    return zip(labels, np.ravel(values).tolist(), strict=True)
