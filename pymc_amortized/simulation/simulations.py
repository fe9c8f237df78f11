"""What networks are trained on: simulations that are made as they are needed, or beforehand."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.networks.batch import Batch
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.simulation.training_batches import lay_out_batch

__all__ = ["AbstractSimulations", "Drawn"]

Drawn = tuple[dict[str, Tensor], Frames, dict[int, Tensor]]
"""Parameters (B, *shape), data sets in frames, and codes (B, m R, J) by table of units."""


class AbstractSimulations(ABC):
    """Simulated data sets of one model.

    Attributes
    ----------
    simulator, layout, space : Simulator, DataLayout, ParameterSpace
        The model; tables of units, and the sizes to be trained for; with normal scores fitted.
    datasets_at_once : int
        How many data sets of the largest size are held together.
    num_available : int or None
        How many there are; None where there are always new ones.
    """

    simulator: Simulator
    layout: DataLayout
    space: ParameterSpace
    datasets_at_once: int
    num_available: int | None

    @abstractmethod
    def draw_frames(self, num_datasets: int, seed: int) -> Drawn:
        """Return B data sets, or all that there are, with what they were made from."""

    @abstractmethod
    def batch(self, step: int, size: int, seed: int) -> Batch:
        """Return the batch of a step of training, which the seed and the step alone decide."""

    @abstractmethod
    def steps_per_round(self, size: int) -> int | None:
        """Return after how many steps data sets come again; None where they never do."""

    @abstractmethod
    def pieces(self, num_datasets: int, at_once: int, seed: int) -> Iterator[Drawn]:
        """Yield B data sets, or all that there are, a few at a time."""

    def draw(self, num_datasets: int, seed: int) -> Batch:
        """Return a batch of B data sets."""
        return self.lay_out(self.draw_frames(num_datasets, seed))

    def lay_out(self, drawn: Drawn) -> Batch:
        """Return what :meth:`draw_frames` has drawn as networks are trained on it."""
        return lay_out_batch(self.simulator, self.layout, self.space, drawn)
