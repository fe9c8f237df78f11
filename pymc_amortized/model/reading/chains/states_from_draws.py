"""A distribution over states that can be drawn, and of which no more is known."""

from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.indicators.simulated_distribution import SimulatedDistribution

__all__ = ["simulated_distribution"]

_MAX_STATES = 64


def simulated_distribution(name: str, states: Tensor, reason: str) -> SimulatedDistribution:
    """Describe states that can only be drawn.

    Parameters
    ----------
    name : str
        Of the indicator.
    states : Tensor of int, shape (M, *units)
        Draws.
    reason : str
        Why its probabilities are not known.

    Raises
    ------
    UnsupportedModelError
        If it is a single number, or has more than 64 values.
    """
    units = tuple(states.shape[1:])
    if not units:
        raise UnsupportedModelError(
            f"Expected {name!r} to have a density, or to be a sequence of states; it is a single "
            f"number, and {reason}. Draw it from a distribution that PyMC knows:\n\n"
            f'    pm.Categorical("{name}", p=probabilities)'
        )
    low, high = int(states.min()), int(states.max())
    if high - low >= _MAX_STATES:
        raise UnsupportedModelError(
            f"Expected discrete variables with finitely many values; {name!r} was drawn between "
            f"{low} and {high}, so that it cannot be summed out. Bound what `random=` returns to "
            f"at most {_MAX_STATES} values:\n\n    states = np.clip(states, 0, {_MAX_STATES - 1})"
        )
    return SimulatedDistribution(tuple(range(low, high + 1)), units, reason)
