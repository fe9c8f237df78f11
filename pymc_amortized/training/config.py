"""How long and how to train: the configuration, and its presets."""

import math

from dataclasses import dataclass
from typing import Literal

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.simulation.simulated_data import FEWEST_SIMULATIONS

__all__ = ["Preset", "TrainingConfig", "check_training", "is_auto", "training_config"]

Preset = Literal["none", "fast", "default", "thorough"]
_AUTO = "auto"
_NO_BUDGET = ", simulations=None, validation=0.1, patience=10"


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long and how to train.

    Attributes
    ----------
    steps : int
        Of the optimizer, at most. 0 trains nothing: of a model whose density is known, corrections
        then begin at the prior.
    batch_size : int
        Data sets per step, all new.
    learning_rate : float
        The highest of the one cosine cycle.
    weight_decay : float
        Of AdamW.
    max_time : float or None
        Seconds after which the cycle ends. Networks that need more depend on the speed of the
        machine. Presets have 2, 10 and 60 minutes.
    tolerance : float or None
        Stop early once a fifth of the steps has lowered the validation loss by less than this, in
        nats per data set. None goes through all steps.
    num_validation : int
        Data sets on which the validation loss is computed.
    simulations : int or None
        A budget: so many data sets are simulated, once, and gone through in rounds; scales,
        validation and references are of the same table. None simulates new ones at each step.
    validation : float
        The share of such a table that is held out for validation, instead of ``num_validation``.
    patience : int or None
        Rounds through a table in the first cycle of the learning rate. A cycle that has lowered the
        validation loss by ``tolerance`` is followed by one that is twice as long, from the best
        weights, until the steps are spent. None is one cycle over all steps.

    Examples
    --------
    >>> training_config("thorough").steps
    30000
    """

    steps: int = 7_000
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    max_time: float | None = None
    tolerance: float | None = 0.01
    num_validation: int = 1_024
    simulations: int | None = None
    validation: float = 0.1
    patience: int | None = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "num_validation"):
            value, least = getattr(self, name), 0 if name == "steps" else 1
            if not isinstance(value, int) or value < least:
                raise InvalidArgumentError(
                    f"Expected {name} to be at least {least}; got {value!r}."
                )
        for name in ("learning_rate", "max_time", "tolerance", "weight_decay"):
            value = getattr(self, name)
            optional = name in ("max_time", "tolerance")
            lowest = 0.0 if name in ("weight_decay", "tolerance") else math.ulp(0.0)
            if (value is None and optional) or (
                isinstance(value, int | float) and lowest <= value < math.inf
            ):
                continue
            raise InvalidArgumentError(f"Expected {name} to be positive; got {value!r}.")
        self._check_budget()

    @property
    def fingerprint(self) -> str:
        """What tells it from others: without a budget, as before there were any."""
        return repr(self).replace(_NO_BUDGET, "")

    def _check_budget(self) -> None:
        least = {"simulations": FEWEST_SIMULATIONS, "patience": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < lowest):
                raise InvalidArgumentError(
                    f"Expected {name} to be at least {lowest:,}, or None; got {value!r}. For "
                    "instance:\n\n    pma.TrainingConfig(simulations=10_000)"
                )
        if not isinstance(self.validation, int | float) or not 0 < self.validation < 1:
            raise InvalidArgumentError(
                "Expected validation to be a share of the simulations, between 0 and 1; got "
                f"{self.validation!r}."
            )


_PRESETS = {
    "none": TrainingConfig(steps=0),
    "fast": TrainingConfig(steps=2_000, max_time=120.0),
    "default": TrainingConfig(max_time=600.0),
    "thorough": TrainingConfig(steps=30_000, tolerance=0.003, max_time=3_600.0),
}


def training_config(training: TrainingConfig | Preset | None) -> TrainingConfig:
    """Return a configuration for a preset, a configuration, or None.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.
    """
    if isinstance(training, TrainingConfig):
        return training
    if training is None:
        return _PRESETS["default"]
    if isinstance(training, str) and training in _PRESETS:
        return _PRESETS[training]
    if training == _AUTO:
        raise InvalidArgumentError(
            f"Expected training to be one of {list(_PRESETS)} or a TrainingConfig; got 'auto', "
            "which is for the answer to one data set. Train for many, or answer one:\n\n"
            '    pma.fit(model, training="default")\n    pma.sample(model=model, training="auto")'
        )
    raise InvalidArgumentError(
        f"Expected training to be one of {list(_PRESETS)} or a TrainingConfig; got {training!r}. "
        "For instance:\n\n    training=pma.TrainingConfig(steps=4_000)"
    )


def is_auto(training: TrainingConfig | Preset | Literal["auto"] | None) -> bool:
    """Whether the data at hand decide how long to train."""
    return training is None or (isinstance(training, str) and training == _AUTO)


def check_training(training: TrainingConfig | Preset | Literal["auto"] | None) -> None:
    """Check what a user asks for where the data at hand may decide.

    Raises
    ------
    InvalidArgumentError
        If it is no configuration, preset, or "auto".
    """
    if is_auto(training) or isinstance(training, TrainingConfig):
        return
    if not isinstance(training, str) or training not in _PRESETS:
        raise InvalidArgumentError(
            f"Expected training to be one of {[_AUTO, *_PRESETS]} or a TrainingConfig; got "
            f"{training!r}. Leave it out to have the data at hand decide."
        )
