"""Errors and warnings of the package: errors inherit from ours and from the builtin they refine."""

from collections.abc import Mapping, Sequence

__all__ = [
    "AcceptanceRateError",
    "AccuracyWarning",
    "AmortizedError",
    "BackendFallbackWarning",
    "CacheWarning",
    "DensityUnavailableError",
    "DeviceError",
    "InvalidArgumentError",
    "InvalidDataError",
    "ModelReadingError",
    "NetworkFileError",
    "NonFiniteSimulationError",
    "ObservationShapeError",
    "ParameterShapeError",
    "SamplerArgumentError",
    "SeveralUnitsError",
    "TrainingError",
    "TrainingInterruptedWarning",
    "UnboundedDensityError",
    "UnconvertibleOpError",
    "UnsupportedModelError",
]


class AmortizedError(Exception):
    """Base class of every error that this package raises on purpose."""


class ModelReadingError(AmortizedError, ValueError):
    """The object given is not a model that can be read at all."""


class UnsupportedModelError(AmortizedError, NotImplementedError):
    """The model is a valid PyMC model, but outside of what this package can answer."""


class SeveralUnitsError(UnsupportedModelError):
    """An observed value depends on several units of an indicator.

    Attributes
    ----------
    indicator : str
        Its name.
    """

    def __init__(self, message: str, indicator: str) -> None:
        super().__init__(message)
        self.indicator = indicator


class UnconvertibleOpError(AmortizedError, NotImplementedError):
    """A PyTensor operation has no batched torch conversion.

    Parameters
    ----------
    op_name : str
        Name of the operation, as PyTensor prints it.
    reason : str
        Why it cannot be converted.
    """

    def __init__(self, op_name: str, reason: str) -> None:
        super().__init__(
            f"Expected every operation to have a batched torch conversion; got {op_name!r}, which "
            f"has none ({reason}). Run the model in PyTensor instead, more slowly:\n\n"
            "    pma.compile_simulator(model, backend='pytensor')"
        )
        self.op_name = op_name
        self.reason = reason


class AcceptanceRateError(AmortizedError, ValueError):
    """Fewer than 1 in 1,000 prior draws lie where the model's transforms and potentials allow."""

    def __init__(self, message: str, acceptance_rate: float) -> None:
        super().__init__(message)
        self.acceptance_rate = acceptance_rate


class NonFiniteSimulationError(AmortizedError, FloatingPointError):
    """A simulation holds NaN or infinite values.

    Parameters
    ----------
    message : str
        What was expected, what was found, and the way out.
    variable : str
        Name of the first variable with a non-finite value.
    parameters : dict of str to numpy.ndarray
        The parameters of the first data set in which it happened.
    """

    def __init__(self, message: str, variable: str, parameters: dict) -> None:
        super().__init__(message)
        self.variable = variable
        self.parameters = parameters


class DensityUnavailableError(AmortizedError, NotImplementedError):
    """A density is asked for that the model, or the network, does not have."""


class DeviceError(AmortizedError, RuntimeError):
    """The requested device is not available."""


class ParameterShapeError(AmortizedError, ValueError):
    """Parameters or observations do not have the shape that the model gives them."""


class BackendFallbackWarning(UserWarning):
    """The simulator runs in PyTensor, more slowly, because of an operation that torch lacks."""


class ObservationShapeError(AmortizedError, ValueError):
    """Data do not have the shape or the number of units that a network was trained for.

    Parameters
    ----------
    message : str
        What was expected, what was found, and the way out.
    variable : str
        Name of the observed variable.
    expected : tuple of int
        The smallest and the largest number of units, or a shape.
    got : tuple of int
        The shape of the data.
    """

    def __init__(
        self, message: str, variable: str, expected: tuple[int, ...], got: tuple[int, ...]
    ) -> None:
        super().__init__(message)
        self.variable = variable
        self.expected = expected
        self.got = got


class InvalidDataError(AmortizedError, ValueError):
    """Data hold values that cannot be observed, or have the wrong type, or the wrong names."""


class UnboundedDensityError(InvalidDataError):
    """Data lie just where the density of the model is infinite, so that no posterior is known."""

    @staticmethod
    def at(places: Mapping[str, Sequence[int]]) -> "UnboundedDensityError":
        """Return the error of entries of the data, by what they are of."""
        where = "; ".join(
            f"{what} {list(rows[:10])}" + (", and more" if len(rows) > 10 else "")
            for what, rows in places.items()
        )
        return UnboundedDensityError(
            "Expected data with a finite density under every parameter; that of the model is "
            f"infinite for some, of {where}. Such values lie on a boundary where a density has no "
            "bound, such as 0 under a Beta or a Gamma distribution of shape below 1. If they are a "
            "kind of their own, give them a component of their own, which they are then left to:"
            '\n\n    pm.Mixture("y", w, [pm.DiracDelta.dist(0.0), component], observed=y)\n\n'
            "If they were rounded, move them off the boundary by half of the last digit."
        )


class InvalidArgumentError(AmortizedError, ValueError):
    """An argument has a value that it cannot have."""


class SamplerArgumentError(AmortizedError, TypeError):
    """An argument of ``pm.sample`` means nothing for this sampler."""


class TrainingError(AmortizedError, FloatingPointError):
    """Training has failed: too many steps were not finite.

    Parameters
    ----------
    message : str
        What was expected, what was found, and the way out.
    variable : str
        Name of the variable that it is traced to.
    """

    def __init__(self, message: str, variable: str) -> None:
        super().__init__(message)
        self.variable = variable


class NetworkFileError(AmortizedError, ValueError):
    """A file does not hold a network that can be used here: damaged, newer, or for another model.

    Parameters
    ----------
    message : str
        What was expected, what was found, and the way out.
    path : str
        The file.
    differences : tuple of str
        Parts of the model that differ, where it is for another one.
    """

    def __init__(self, message: str, path: str, differences: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path
        self.differences = differences


class AccuracyWarning(UserWarning):
    """An answer could not be checked, or was checked and found wanting."""


class AtypicalDataWarning(UserWarning):
    """Data lie far from all that the model was simulated to produce."""


class TrainingInterruptedWarning(UserWarning):
    """Training was interrupted; the best network so far is used."""


class CacheWarning(UserWarning):
    """The cache cannot be read or written; networks are trained, and not kept."""
