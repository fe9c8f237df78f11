"""What can be asked of an answer, checked before anything is trained or drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from pymc_amortized.errors import InvalidArgumentError, SamplerArgumentError, UnsupportedModelError
from pymc_amortized.inference.draws import Correction
from pymc_amortized.model.spec import IndicatorSpec, ModelSpec, without_density

__all__ = [
    "check_correction",
    "check_count",
    "check_request",
    "check_var_names",
    "indicators_to_draw",
    "require_chains",
]

_IDATA_KWARGS = ("log_likelihood", "log_prior")
_KINDS = ("smoothing", "filtering", "paths", "viterbi")


def check_request(
    spec: ModelSpec,
    correction: str,
    var_names: Sequence[str] | None = None,
    idata_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Refuse, before anything is trained or drawn, what cannot be answered for a model.

    Raises
    ------
    InvalidArgumentError
        If the correction or the name of a variable is unknown.
    SamplerArgumentError
        If a group in ``idata_kwargs`` is unknown.
    UnsupportedModelError
        If there is no density for what is asked.
    """
    check_correction(correction)
    if correction not in ("auto", "none") and not spec.has_density:
        raise UnsupportedModelError(
            f"Expected a density to correct draws by; {without_density(spec)}. Take the draws "
            'as they are:\n\n    posterior.sample(correction="none")'
        )
    if var_names is not None:
        check_var_names(spec, var_names)
    kwargs = idata_kwargs or {}
    unknown = [name for name in kwargs if name not in _IDATA_KWARGS]
    if unknown:
        raise SamplerArgumentError(
            f"Expected idata_kwargs among {list(_IDATA_KWARGS)}; got {unknown[0]!r}."
        )
    if any(kwargs.values()) and not spec.has_density:
        raise UnsupportedModelError(
            f"Expected a density for the log likelihood and the log prior; "
            f"{without_density(spec)}. Leave them out of idata_kwargs."
        )


def require_chains(
    spec: ModelSpec, kind: str, *, to_go_on: bool = False
) -> tuple[IndicatorSpec, ...]:
    """Return the chains of a model, of whose states something of a kind is asked.

    What goes on with new points, or looks for the most probable path, needs a known transition.

    Raises
    ------
    InvalidArgumentError
        If it is none of "smoothing", "filtering", "paths" and "viterbi".
    UnsupportedModelError
        If there is no chain, if its transition is not known where it must be, or if there are
        several to go on with.
    """
    if kind not in _KINDS:
        raise InvalidArgumentError(f"Expected kind to be one of {list(_KINDS)}; got {kind!r}.")
    chains = tuple(i for i in spec.named_indicators if i.is_sequence)
    if not chains:
        raise UnsupportedModelError(
            "Expected a model with a Markov chain; this one has none. See the probabilities of "
            "independent indicators by:\n\n    posterior.indicator_probabilities(data)"
        )
    for chain in chains:
        if chain.is_drawn_only and (to_go_on or kind == "viterbi"):
            wanted = "filter a stream" if to_go_on else "find the most probable path"
            raise UnsupportedModelError(
                f"Expected a chain whose transition is known, to {wanted}; {chain.name!r} can be "
                "drawn only. Take probabilities or joint paths of the network:\n\n"
                '    posterior.indicators(data, kind="filtering")  # or "smoothing", "paths"'
            )
    if to_go_on and len(chains) > 1:
        raise UnsupportedModelError(
            f"Expected a model with one Markov chain; this one has {[c.name for c in chains]}."
        )
    return chains


def check_correction(correction: str) -> None:
    """Refuse what is not a correction.

    Raises
    ------
    InvalidArgumentError
        If it is none of "auto", "none", "importance", "adaptive", "smc" and "mcmc".
    """
    known = get_args(Correction)
    if correction not in known:
        raise InvalidArgumentError(
            f"Expected correction to be one of {list(known)}; got {correction!r}."
        )


def check_count(name: str, value: Any) -> int:
    """Return a count of draws or chains.

    Raises
    ------
    InvalidArgumentError
        If it is not a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidArgumentError(f"Expected {name} to be at least 1; got {value!r}.")
    return int(value)


def check_var_names(spec: ModelSpec, var_names: Sequence[str]) -> None:
    """Refuse names of variables that a posterior does not hold.

    Raises
    ------
    InvalidArgumentError
        If they are not a list of known names.
    """
    known = [v.name for v in (*spec.parameters, *spec.named_indicators, *spec.deterministics)]
    if isinstance(var_names, str) or any(name not in known for name in var_names):
        raise InvalidArgumentError(
            f"Expected var_names to be a list of names among {known}; got {var_names!r}."
        )


def indicators_to_draw(spec: ModelSpec, var_names: Sequence[str] | None) -> frozenset[str]:
    """Return the indicators that are asked for; all, where a deterministic asked for needs them."""
    names = frozenset(i.name for i in spec.indicators)
    if var_names is None:
        return names
    wanted = set(var_names)
    needed = any(d.depends_on_indicators and d.name in wanted for d in spec.deterministics)
    if needed:
        return names
    return frozenset(i.name for i in spec.indicators if wanted & {n.name for n in i.named})
