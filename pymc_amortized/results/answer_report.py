"""What is said of an answer: its attributes, one line for the log, and warnings."""

import math

from collections.abc import Iterable
from typing import Any

from pymc_amortized.errors import AccuracyWarning, AtypicalDataWarning
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.typicality import LARGEST_TYPICAL
from pymc_amortized.messages import log_info, warn
from pymc_amortized.model.spec import IndicatorSpec, ModelSpec, without_density
from pymc_amortized.results.reading import INDICATORS

__all__ = [
    "answer_facts",
    "answer_line",
    "is_atypical",
    "log_answer",
    "note_of_place",
    "warn_of",
    "warn_of_left_out",
]

_SOURCES = {
    "network": "the network",
    "importance": "the network, weighted by importance sampling",
    "adaptive": "adaptive importance sampling",
    "smc": "particles of sequential Monte Carlo",
    "mcmc": "MCMC chains",
}
_CONFIRMED = {
    "bridge": " and confirmed by a bridge from the prior",
    "search": " and confirmed by a search from the prior",
    "mcmc": " and confirmed by MCMC chains",
    "simulations": " and confirmed by simulations",
    "nothing": "",
}


def answer_facts(draws: Draws) -> dict[str, Any]:
    """Return what is known of the draws of one data set, as numbers and words by name."""
    accepted = "learned" if draws.by_learned else "accepted"
    mcmc = draws.mcmc
    return {
        "rung": draws.rung,
        "checked": {None: "no", True: accepted, False: "rejected"}[draws.accepted],
        "pareto_k": draws.pareto_k,
        "importance_ess": draws.importance_ess,
        "network_pareto_k": draws.network_pareto_k,
        "num_proposals": draws.num_proposals,
        "num_distinct_draws": draws.num_distinct,
        "log_evidence": draws.log_evidence,
        "log_evidence_error": draws.log_evidence_error,
        "confirmed_by": draws.confirmed_by,
        "stopped_by": draws.stopped_by,
        "simulation_quantile": draws.simulation_quantile,
        "rhat": math.nan if mcmc is None else mcmc.rhat,
        "ess_bulk": math.nan if mcmc is None else mcmc.ess,
        "divergences": 0 if mcmc is None else int(mcmc.diverging.sum()),
        **{
            f"seconds_{rung}": draws.seconds.get(rung, 0.0)
            for rung in ("network", "importance", "adaptive", "smc", "mcmc", "confirmation")
        },
    }


def answer_line(draws: Draws) -> str:
    """Say in one line what an answer comes from."""
    text = f"Answered by {_source(draws)}"
    if draws.rung == "adaptive" and draws.mcmc is not None:
        text += ", started from MCMC chains"
    if draws.rung in ("smc", "mcmc"):
        text += f" (R-hat {draws.mcmc.rhat:.3f}, bulk ESS {draws.mcmc.ess:,.0f})"
    elif draws.accepted is not None:
        text += f" (Pareto k {draws.pareto_k:.2f}, ESS {draws.importance_ess:,.0f} of "
        text += f"{draws.num_proposals:,})"
    verdict = {None: "not checked", True: "accepted", False: "rejected"}[draws.accepted]
    if draws.accepted:
        verdict += " by a density that was learned" if draws.by_learned else ""
        verdict += _CONFIRMED[draws.confirmed_by]
    if draws.stopped_by != "nothing":
        verdict += f" (stopped by {draws.stopped_by})"
    seconds = ", ".join(f"{rung} {spent:.2f} s" for rung, spent in draws.seconds.items())
    return f"{text}: {verdict}; {seconds}."


def log_answer(draws: Draws, *notes: str) -> None:
    """Log a line, and what notes there are, at the level INFO of the logger ``pymc_amortized``."""
    for text in (answer_line(draws), *notes):
        if text:
            log_info(text)


def note_of_place(aside: Iterable[IndicatorSpec]) -> str:
    """Say what PyMC does not see: variables of the model whose draws are not in the posterior."""
    names = [i.name for i in aside if i.origin == "explicit"]
    if not names:
        return ""
    return (
        f"Draws of {', '.join(names)} are in the group {INDICATORS!r}. "
        "pm.sample_posterior_predictive, which sees the posterior alone, draws them anew given the "
        "parameters, as of new units. To predict for these units, put them there first:\n\n"
        f"    idata.posterior.update(idata.{INDICATORS})"
    )


def is_atypical(quantile: float) -> bool:
    """Tell whether data lie far from all that was simulated."""
    return quantile > LARGEST_TYPICAL


def warn_of(draws: Draws, spec: ModelSpec, rule: AcceptanceRule) -> None:
    """Warn of what an answer's user has to know.

    Warns
    -----
    AtypicalDataWarning
        If the data lie far from all simulated ones.
    AccuracyWarning
        If the answer could not be checked, was rejected, or holds divergences.
    """
    if is_atypical(draws.simulation_quantile):
        warn(_atypical(draws), AtypicalDataWarning)
    if not spec.has_density:
        warn(
            f"This answer could not be checked: {without_density(spec)}. It is the network's, as "
            "it was trained.",
            AccuracyWarning,
        )
    elif draws.accepted is False:
        warn(_rejected(draws, rule), AccuracyWarning)
    elif draws.rung == "mcmc" and bool(draws.mcmc.diverging.any()):
        warn(
            f"{int(draws.mcmc.diverging.sum())} of {draws.mcmc.diverging.numel():,} draws of "
            "the MCMC chains diverged; the chains agree otherwise. Parts of the posterior may be "
            "missing where it is narrow.",
            AccuracyWarning,
        )


def warn_of_left_out(names: Iterable[str]) -> None:
    """Warn of deterministics that could not be computed.

    Warns
    -----
    UserWarning
        If there are any.
    """
    if not names:
        return
    warn(
        f"The deterministics {sorted(names)} depend on data or on indicators, and are left out: "
        "these are not the data that the model was built with. Build it with these data to have "
        "them.",
        UserWarning,
    )


def _source(draws: Draws) -> str:
    source = _SOURCES[draws.rung]
    return source if draws.is_trained else source.replace("the network", "draws of the prior")


def _atypical(draws: Draws) -> str:
    density = "a density that was learned from such" if draws.by_learned else "the exact density"
    verdict = {
        None: "it was not checked, and should not be trusted",
        True: f"it was checked against {density}, and accepted",
        False: "it was rejected",
    }[draws.accepted]
    answered = f"The answer comes from {_source(draws)}: {verdict}"
    share = f"{math.floor(1000 * draws.simulation_quantile) / 10:.1f} %"
    others = "all" if draws.simulation_quantile >= 1 else share
    return (
        f"These data lie farther from the data sets that the network was trained on than {others} "
        "of these do: the model hardly ever produces such data. "
        f"{answered}. Compare them with what the model expects:\n\n"
        "    pm.sample_prior_predictive(model=model)"
    )


def _rejected(draws: Draws, rule: AcceptanceRule) -> str:
    if draws.stopped_by != "nothing":
        what = "Time was out" if draws.stopped_by == "max_time" else "You interrupted"
        judged = rule.judge_weights(draws.pareto_k, draws.importance_ess, draws.num_proposals)
        return (
            f"{what} before there was an answer that is confirmed. These draws are the best so "
            f"far, from {_source(draws)}: {judged}. They should not be trusted in detail. "
            "Give it more time:\n\n    posterior.sample(max_time=None)"
        )
    if draws.rung == "smc":
        return (
            "Two populations of particles from the prior disagree: of the evidence, of how much "
            f"mass each mode has, or of means (R-hat {draws.mcmc.rhat:.3f}). The draws are not "
            "to be trusted. Climb as far as these data "
            'need:\n\n    posterior.sample(correction="auto")'
        )
    if draws.confirmed_by == "neither":
        return (
            "Two estimates of this posterior disagree, one that begins at "
            f"{'the network' if draws.is_trained else 'draws of the prior'}, and one of particles "
            "from the prior: of the evidence, or of how much mass each mode has. The draws are not "
            "to be trusted. Train longer, or compare with MCMC chains:\n\n"
            '    pma.fit(model, training="thorough")\n    posterior.sample(correction="mcmc")'
        )
    if _passes(draws, rule):
        return (
            "Nothing confirms this answer. By itself it looks right, but whether a mode is missing "
            "cannot be told: particles from the prior did not find their way to the posterior "
            "within their budget. Compare with chains from other places, or accept it as it is:\n\n"
            "    pm.sample(model=model)\n"
            '    posterior.sample(acceptance=pma.AcceptanceRule(confirm="none"))'
        )
    if draws.rung == "mcmc":
        return (
            "MCMC chains could not answer for these data; their draws are returned, and are not "
            f"to be trusted: {rule.judge_mcmc(draws.mcmc)}. Chains that disagree are often in "
            "different modes, and chains that agree may all have missed one that the network knows "
            "of. Look at them, or train longer:\n\n"
            '    az.plot_trace(idata)\n    pma.fit(model, training="thorough")'
        )
    return (
        "The weights of these draws cannot be relied on: "
        f"{rule.judge_weights(draws.pareto_k, draws.importance_ess, draws.num_proposals)}. They "
        "should not be trusted in detail. Climb as far as these "
        'data need:\n\n    posterior.sample(correction="auto")'
    )


def _passes(draws: Draws, rule: AcceptanceRule) -> bool:
    """Tell whether draws would be accepted for what they themselves show."""
    if draws.rung == "mcmc":
        return rule.accepts_mcmc(draws.mcmc) and draws.confirmed_by == "nothing"
    light = draws.pareto_k <= rule.largest_k(draws.num_proposals)
    return light and draws.importance_ess >= rule.for_draws(len(draws)).ess
