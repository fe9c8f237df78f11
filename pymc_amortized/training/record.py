"""How a trained network came about: what is kept with it, and read back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.training.config import TrainingConfig

__all__ = ["TrainingRecord"]


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How a network came about, and how good it is.

    Attributes
    ----------
    fingerprint : str
        Of the model, the sizes, the configuration and the versions.
    parts : dict of str to str
        Fingerprints of the parts of the model.
    versions : dict of str to str
        Of the packages.
    sizes : dict of str to tuple
        As asked for.
    config : TrainingConfig
        How it was trained.
    steps, skipped : int
        Steps taken, and those left out because they were not finite.
    seconds : float
        That training took.
    interrupted : bool
        Whether training was stopped by the user.
    validation_loss : float
        In nats per data set.
    accepted_share : float
        Share of fresh simulated data sets with Pareto k below 0.7; NaN without a density.
    history : tuple of dict
        The validation loss over time.
    orders : tuple of CanonicalOrder
        That exchangeable components were in.
    """

    fingerprint: str
    parts: dict[str, str]
    versions: dict[str, str]
    sizes: dict[str, tuple[int, int]]
    config: TrainingConfig
    steps: int
    skipped: int
    seconds: float
    interrupted: bool
    validation_loss: float
    accepted_share: float
    history: tuple[dict[str, float], ...]
    orders: tuple[CanonicalOrder, ...] = ()

    @property
    def family(self) -> str:
        """The fingerprint, whatever the configuration: networks that can stand for each other."""
        return self.fingerprint.partition("-")[0]

    def as_record(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "TrainingRecord":
        """Undo :meth:`as_record`."""
        return TrainingRecord(
            **{
                **record,
                "config": TrainingConfig(**record["config"]),
                "sizes": {name: tuple(size) for name, size in record["sizes"].items()},
                "history": tuple(record["history"]),
                "orders": tuple(map(CanonicalOrder.from_record, record.get("orders", ()))),
            }
        )
