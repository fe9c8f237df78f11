"""How well the answers for simulated data sets fit the values that these were simulated from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray

from pymc_amortized.diagnostics.metrics.recovery import Recovery
from pymc_amortized.diagnostics.metrics.reliability import Reliability
from pymc_amortized.diagnostics.metrics.uniformity import Uniformity, uniformity

__all__ = ["Calibration", "Finding", "entries"]

_LEVEL = 0.01


@dataclass(frozen=True, slots=True)
class Finding:
    """One quantity, and whether it is calibrated.

    Attributes
    ----------
    quantity : str
        Name, with coordinates.
    p_value : float
        That it is.
    in_words : str
        How it is wrong, if it is.
    log_gamma : float
        Of its ranks; NaN for probabilities.
    passed : bool
        Whether its p-value is above the level, divided by the number of quantities.
    """

    quantity: str
    p_value: float
    in_words: str
    log_gamma: float
    passed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The answers of a network, or corrected ones, for B simulated data sets.

    Attributes
    ----------
    answers : str
        Whose: ``"network"``, or the correction.
    pit : xarray.Dataset, dims (chain, draw, *dims)
        Probability integral transforms of parameters, of shares of units in each component but the
        first, of the log likelihood and, as ``joint``, of all parameters at once (TARP); ``draw``
        counts data sets, as ArviZ expects in the group ``prior_sbc``.
    recovery : dict of str to Recovery
        Of each parameter.
    dims : dict of str to tuple of str
        Names of the axes of each parameter.
    reliability : dict of str to Reliability
        Of probabilities of each indicator. Of states ``z`` also, as ``"z, filtering"``, of those
        given the data up to each time point, at the true parameters.
    gaps : dict of str to float
        Of the classification network from the exact conditional, in nats per unit.
    pareto_k : numpy.ndarray, shape (B,)
        Of the network's weights.
    rungs : tuple of str
        What answers come from.
    accepted : tuple of bool or None
        Whether they were; None where nothing could be checked.
    """

    answers: str
    pit: xarray.Dataset
    recovery: Mapping[str, Recovery]
    reliability: Mapping[str, Reliability]
    gaps: Mapping[str, float]
    pareto_k: np.ndarray
    rungs: tuple[str, ...]
    accepted: tuple[bool | None, ...]

    @property
    def num_datasets(self) -> int:
        """B."""
        return len(self.rungs)

    @property
    def uniformity(self) -> dict[str, Uniformity]:
        """Of each scalar quantity, by its name with coordinates."""
        return {
            label: uniformity(values)
            for name in self.pit.data_vars
            for label, values in entries(self.pit[name])
        }

    def findings(self) -> list[Finding]:
        """Return every quantity with its verdict; 99 right posteriors of 100 pass, or more."""
        found = [
            (label, test.p_value, _describe_test(label, test), test.log_gamma)
            for label, test in self.uniformity.items()
        ]
        found += [
            (f"p({name})", table.p_value, f"probabilities {table.in_words()}", np.nan)
            for name, table in self.reliability.items()
        ]
        level = _LEVEL / max(1, len(found))
        return [Finding(q, p, words, log_gamma, p > level) for q, p, words, log_gamma in found]

    @property
    def passed(self) -> bool:
        """Whether all quantities are calibrated, as far as so many data sets can tell."""
        return all(finding.passed for finding in self.findings())


def _describe_test(label: str, test: Uniformity) -> str:
    words = test.in_words()
    if label == "log likelihood" and words in ("too low", "too high"):
        return f"draws fit the data {'worse' if words == 'too low' else 'better'} than true values"
    if label == "joint":
        return "draws of all parameters together are not around true values as they should"
    return f"posterior {words}"


def entries(array: xarray.DataArray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each scalar of a variable (chain, draw, *dims) by its name, over data sets (B,)."""
    if array.ndim == 2:
        yield array.name, array.values[0]
        return
    dims = array.dims[2:]
    for index in np.ndindex(*array.shape[2:]):
        where = ", ".join(str(array[d].values[i]) for d, i in zip(dims, index, strict=True))
        yield f"{array.name}[{where}]", array.values[(0, slice(None), *index)]
