"""When an answer is accepted: the one place where thresholds are."""

import math

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from torch import Tensor

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.importance.weights import Weights

__all__ = ["AcceptanceRule", "acceptance_rule"]

_ALL_BUT_EQUAL = 0.9


class _McmcChains(Protocol):
    rhat: float
    ess: float
    diverging: Tensor


@dataclass(frozen=True, slots=True)
class AcceptanceRule:
    """How good an answer has to be.

    Attributes
    ----------
    pareto_k : float
        Largest shape of the tail of the importance weights, above 0 and below 1. For few draws it
        is smaller, 1 - 1 / log10 of their number [1]_.
    ess : float
        Smallest effective sample size in draws, of importance weights and of MCMC chains; as many
        as were asked for, if these are fewer.
    rhat : float
        Largest rank-normalized split R-hat of MCMC chains, above 1 [2]_.
    divergences : float
        Largest share of draws of MCMC chains that diverge, from 0 to 1.
    confirm : {"single", "all", "none"}
        Which answers need a second estimate that agrees, by particles from the prior, or by MCMC
        chains that begin at them: those of one data set, unless it lies amid the simulations of
        which a trained network has been shown to miss nothing; all, whatever is known of the
        network, and also of many data sets at once; or none.

    Raises
    ------
    InvalidArgumentError
        If one of them is out of its range.

    References
    ----------
    .. [1] Vehtari, A., et al. (2024). Pareto smoothed importance sampling. Journal of Machine
       Learning Research 25(72), section 3.2.4. arXiv:1507.02646
    .. [2] Vehtari, A., et al. (2021). Rank-normalization, folding, and localization: an improved
       R-hat. Bayesian Analysis 16(2), 667-718.

    Examples
    --------
    >>> import pymc_amortized as pma
    >>> rule = pma.AcceptanceRule(pareto_k=0.5, ess=1000)
    >>> rule.largest_k(4000), round(rule.largest_k(50), 2), rule.rhat
    (0.5, 0.41, 1.01)
    """

    pareto_k: float = 0.7
    ess: float = 400.0
    rhat: float = 1.01
    divergences: float = 0.01
    confirm: Literal["single", "all", "none"] = "single"

    def __post_init__(self) -> None:
        _require("pareto_k", self.pareto_k, 0 < self.pareto_k < 1, "above 0 and below 1")
        _require("ess", self.ess, 1 <= self.ess < math.inf, "at least 1 draw")
        _require("rhat", self.rhat, 1 < self.rhat < math.inf, "above 1")
        _require("divergences", self.divergences, 0 <= self.divergences <= 1, "from 0 to 1")

        kinds = ("single", "all", "none")
        _require("confirm", self.confirm, self.confirm in kinds, f"one of {list(kinds)}")

    def confirms(self, num_datasets: int) -> bool:
        """Tell whether answers of so many data sets, drawn together, need a second estimate."""
        return self.confirm == "all" or (self.confirm == "single" and num_datasets == 1)

    @property
    def always_confirms(self) -> bool:
        """Whether no network, however well checked, goes without a second estimate."""
        return self.confirm == "all"

    def for_draws(self, num_draws: float) -> "AcceptanceRule":
        """Return the rule for an answer of so many draws, which cannot be worth more."""
        return replace(self, ess=max(1.0, min(self.ess, num_draws)))

    def largest_k(self, num_draws: int) -> float:
        """Return the largest Pareto k at which weights of so many draws can be relied on."""
        return min(1 - 1 / math.log10(max(num_draws, 11)), self.pareto_k)

    def relies_on(self, weights: Weights) -> Tensor:
        """Tell whether tails of weights are light enough, (B,), or weights hardly differ.

        Weights of a proposal that is all but exact are flat, with a few small bumps: the bumps look
        like a heavy tail, but there is next to nothing in it. Weights whose tail is not known are
        never relied on, nor are none at all.
        """
        num_draws = weights.log_weights.shape[0]
        light = weights.pareto_k <= self.largest_k(num_draws)
        flat = (weights.ess >= _ALL_BUT_EQUAL * num_draws) & (weights.pareto_k < math.inf)
        return (light | flat) & (weights.ess > 0)

    def accepts(self, weights: Weights) -> Tensor:
        """Tell for which data sets weighted draws are an answer, (B,)."""
        return self.relies_on(weights) & (weights.ess >= self.ess)

    def accepts_mcmc(self, mcmc: _McmcChains) -> bool:
        """Tell whether MCMC chains can be believed, as far as they themselves show."""
        least = min(self.ess, mcmc.diverging.numel() / 2)
        few = float(mcmc.diverging.double().mean()) <= self.divergences
        return mcmc.rhat <= self.rhat and mcmc.ess >= least and few

    def may_accept_longer(self, mcmc: _McmcChains, times: float) -> bool:
        """Tell whether MCMC chains so many times as long could be believed.

        Their ESS grows with their length, and what R-hat has above 1 falls with it; chains that are
        far from that are stuck.
        """
        return mcmc.ess * times >= self.ess and mcmc.rhat - 1 <= 2 * times * (self.rhat - 1)

    def judge_weights(self, pareto_k: float, ess: float, num_draws: int) -> str:
        """Say what weights are worth, and what would be enough."""
        return (
            f"Pareto k is {pareto_k:.2f} (at most {self.largest_k(num_draws):.2f}), and the "
            f"importance ESS {ess:.0f} of {num_draws:,} (at least {self.ess:.0f})"
        )

    def judge_mcmc(self, mcmc: _McmcChains) -> str:
        """Say what MCMC chains are worth, and what would be enough."""
        return (
            f"R-hat {mcmc.rhat:.3f} (at most {self.rhat:g}), bulk ESS {mcmc.ess:.0f} (at least "
            f"{self.ess:.0f}), divergences {int(mcmc.diverging.sum())}"
        )


def acceptance_rule(acceptance: AcceptanceRule | None) -> AcceptanceRule:
    """Return a rule for what a user gives: a rule, or None for the usual one.

    Raises
    ------
    InvalidArgumentError
        If it is neither.
    """
    if acceptance is None:
        return AcceptanceRule()
    if isinstance(acceptance, AcceptanceRule):
        return acceptance
    raise InvalidArgumentError(
        f"Expected acceptance to be a pma.AcceptanceRule; got {acceptance!r}. For instance:\n\n"
        "    acceptance=pma.AcceptanceRule(pareto_k=0.5, ess=1000)"
    )


def _require(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise InvalidArgumentError(f"Expected {name} to be {wanted}; got {value!r}.")
