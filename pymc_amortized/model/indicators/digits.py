"""The indicators that a joint one stands for, read off its values as digits off a number."""

from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

__all__ = ["Digits"]


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Where one indicator is found in a joint one, whose L values are combinations of several.

    Attributes
    ----------
    support : tuple of int
        The K values of this indicator.
    units, joint_units : tuple of int
        Shape of its n units, and of those of the joint indicator.
    joint_unit : numpy.ndarray of int, shape (n,)
        In which of those (flat index) each unit has its place.
    place : numpy.ndarray of int, shape (n,)
        Which of the digits there it is.
    table : numpy.ndarray of int, shape (places, L)
        Position in the support, by place and joint value.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    joint_units: tuple[int, ...]
    joint_unit: np.ndarray
    place: np.ndarray
    table: np.ndarray

    @property
    def is_aligned(self) -> bool:
        """Whether units are those of the joint indicator, however many there are."""
        return (
            self.units == self.joint_units
            and len(self.table) == 1
            and np.array_equal(self.joint_unit, np.arange(len(self.joint_unit)))
        )

    @property
    def values(self) -> np.ndarray:
        """Values by place and joint value, (places, L)."""
        return np.asarray(self.support)[self.table]

    def every_value(self) -> np.ndarray:
        """Return the values that all units have under each joint value, (L, *units)."""
        return self.values[self.place].T.reshape(-1, *self.units)

    def symbolic(self, joint: Variable, dtype: str) -> Variable:
        """Return this indicator as a function of the joint one (*joint units)."""
        values = pt.constant(self.values.astype(dtype))
        if self.is_aligned:
            return values[0][joint]
        # One index into one axis, which is looked up without a copy of the table for each draw.
        row = self.place * self.table.shape[1]
        return values.ravel()[row + joint.ravel()[self.joint_unit]].reshape(self.units)

    def decode(self, joint: Tensor) -> Tensor:
        """Return values (S, *units) of this indicator, given joint ones (S, *joint units)."""
        values = torch.as_tensor(self.values, device=joint.device)
        if self.is_aligned:
            return values[0][joint.long()]
        flat = joint.reshape(len(joint), -1)[:, self.joint_unit].long()
        return values[torch.as_tensor(self.place), flat].reshape(len(joint), *self.units)

    def marginal(self, probabilities: Tensor) -> Tensor:
        """Return probabilities (..., *units, K), given those of joint values (..., *units, L)."""
        positions = torch.as_tensor(self.table, device=probabilities.device).unsqueeze(-1)
        shares = probabilities.new_zeros(*self.table.shape, len(self.support))
        shares.scatter_(-1, positions, 1.0)  # (places, L, K)
        if self.is_aligned:
            return probabilities @ shares[0]
        lead = probabilities.shape[: probabilities.ndim - 1 - len(self.joint_units)]
        flat = probabilities.reshape(*lead, -1, probabilities.shape[-1])
        found = flat.new_empty(*lead, len(self.place), len(self.support))
        for place, share in enumerate(shares):
            here = np.flatnonzero(self.place == place)
            found[..., here, :] = flat[..., self.joint_unit[here], :] @ share
        return found.reshape(*lead, *self.units, len(self.support))
