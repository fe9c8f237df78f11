"""How a trained network came about: what is kept with it, and read back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.training.config import TrainingConfig

__all__ = ["TrainingRecord", "Usage"]

_DATA_TO_REMEMBER = 20


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
    simulations : int
        Data sets that were simulated, whatever for, once the model was read; those of a table that
        was made elsewhere are not among them.
    chosen : str
        The posterior network that was the best of several; empty where there was no choice.
    rounds : int
        In which it was trained for one data set; 0 where it answers any.
    data : str
        Digest of that data set.
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
    simulations: int = 0
    chosen: str = ""
    rounds: int = 0
    data: str = ""

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


@dataclass(frozen=True, slots=True)
class Usage:
    """How often a model has been asked about, one data set at a time.

    Attributes
    ----------
    datasets : int
        How many there were.
    seconds : float
        That answers took.
    seconds_grown : float
        That a network was trained meanwhile.
    last : tuple of str
        Digests of the last few data sets: the same again are not new.

    Examples
    --------
    >>> usage = Usage().after("one", 2.0).after("two", 1.5).after("one", 1.5)
    >>> usage.datasets, usage.seconds, usage.last
    (2, 5.0, ('two', 'one'))
    """

    datasets: int = 0
    seconds: float = 0.0
    seconds_grown: float = 0.0
    last: tuple[str, ...] = ()

    def after(self, data: str, seconds: float) -> "Usage":
        """Return usage after one more answer."""
        others = tuple(x for x in self.last if x != data)
        return replace(
            self,
            datasets=self.datasets + (data not in self.last),
            seconds=self.seconds + seconds,
            last=(*others, data)[-_DATA_TO_REMEMBER:],
        )

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Usage":
        """Undo ``dataclasses.asdict``, after JSON has held it."""
        return Usage(
            int(record["datasets"]),
            float(record["seconds"]),
            float(record["seconds_grown"]),
            tuple(map(str, record["last"])),
        )
