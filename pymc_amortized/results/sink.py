"""Where a result is written, piece by piece."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["AbstractSink", "MemorySink", "Room"]


@dataclass(frozen=True, slots=True)
class Room:
    """What a variable needs in each data set.

    Attributes
    ----------
    shape : tuple of int
        Of the largest.
    dtype : numpy.dtype
        Of its values.
    filler : object
        What stands where a data set has no value, or is smaller than others.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    filler: Any


class AbstractSink(ABC):
    """Takes the values of B data sets, one data set at a time, by group and variable."""

    @abstractmethod
    def make_room(self, group: str, name: str, room: Room) -> None:
        """Reserve what a variable needs, in all data sets; before its first values are written."""

    @abstractmethod
    def write(self, group: str, name: str, i: int, values: np.ndarray) -> None:
        """Write the values of data set i, which may be smaller than there is room for."""

    @abstractmethod
    def holds(self, group: str, name: str) -> bool:
        """Whether there is room for a variable."""

    @abstractmethod
    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """Return what was written to a group: arrays (B, *shape) by name."""


class MemorySink(AbstractSink):
    """Keeps one array per variable.

    Parameters
    ----------
    num_datasets : int
        B.

    Examples
    --------
    >>> sink = MemorySink(2)
    >>> sink.make_room("posterior", "z", Room((3,), np.dtype("int8"), -1))
    >>> sink.write("posterior", "z", 1, np.array([0, 1], "int8"))
    >>> sink.arrays("posterior")["z"].tolist()
    [[-1, -1, -1], [0, 1, -1]]
    """

    def __init__(self, num_datasets: int) -> None:
        self.num_datasets = num_datasets
        self._groups: dict[str, dict[str, np.ndarray]] = {}

    def make_room(self, group: str, name: str, room: Room) -> None:
        """Reserve what a variable needs, in all data sets; before its first values are written."""
        shape = (self.num_datasets, *room.shape)
        self._groups.setdefault(group, {})[name] = np.full(shape, room.filler, room.dtype)

    def write(self, group: str, name: str, i: int, values: np.ndarray) -> None:
        """Write the values of data set i, which may be smaller than there is room for."""
        self._groups[group][name][(i, *(slice(length) for length in values.shape))] = values

    def holds(self, group: str, name: str) -> bool:
        """Whether there is room for a variable."""
        return name in self._groups.get(group, {})

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """Return what was written to a group: arrays (B, *shape) by name."""
        return self._groups.get(group, {})
