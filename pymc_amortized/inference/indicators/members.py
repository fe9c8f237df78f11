"""What is known of the indicators that a joint one stands for."""

from torch import Tensor

from pymc_amortized.inference.indicators.conditional import IndicatorDraws, smallest_type
from pymc_amortized.model.spec import IndicatorSpec

__all__ = ["read_members"]


def read_members(indicator: IndicatorSpec, drawn: IndicatorDraws) -> dict[str, IndicatorDraws]:
    """Return what is known of each indicator that one stands for, by name; if only itself, of it.

    Parameters
    ----------
    indicator : IndicatorSpec
        The reading of an indicator.
    drawn : IndicatorDraws
        What data say of it.
    """
    if not indicator.members:
        return {indicator.name: drawn}
    return {member.name: _read(member, drawn) for member in indicator.members}


def _read(member: IndicatorSpec, drawn: IndicatorDraws) -> IndicatorDraws:
    digits, kept = member.digits, smallest_type(member.support)

    def states(joint: Tensor) -> Tensor:
        return digits.decode(joint).to(kept)

    in_time = member.is_sequence
    viterbi = states(drawn.viterbi.unsqueeze(0))[0] if drawn.viterbi is not None else None
    return IndicatorDraws(
        values=states(drawn.values),
        probabilities=digits.marginal(drawn.probabilities),
        gap=drawn.gap,
        filtering=digits.marginal(drawn.filtering) if in_time else None,
        viterbi=viterbi if in_time else None,
    )
