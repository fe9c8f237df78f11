"""What is observed of a variable with missing values, as PyMC has taken it apart."""

from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt

from pymc.distributions.distribution import PartialObservedRV
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.complete_model import current_value

__all__ = ["Masked", "read_masked"]


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A variable that is observed in part.

    Attributes
    ----------
    name : str
        As in the model.
    joined : Variable
        Its observed and missing values together.
    observed_part : Variable
        What the observed ones are drawn from.
    data : numpy.ndarray
        The values; NaN or 0 where missing.
    entries : numpy.ndarray of bool
        Which are observed.
    """

    name: str
    joined: Variable
    observed_part: Variable
    data: np.ndarray
    entries: np.ndarray

    @property
    def is_split(self) -> bool:
        """Whether observed values are drawn alone, one after the other."""
        return not isinstance(self.observed_part.owner.op, PartialObservedRV)

    @property
    def variable(self) -> Variable:
        """What draws all of it."""
        return self.joined if self.is_split else self.observed_part.owner.inputs[0]

    @property
    def observed(self) -> np.ndarray:
        """Which values are observed, of multivariate ones as a whole.

        Raises
        ------
        UnsupportedModelError
            If some are observed in part.
        """
        event_ndim = 0 if self.is_split else self.variable.owner.op.ndim_supp
        num_axes = self.variable.type.ndim - event_ndim
        if self.entries.ndim <= num_axes:
            return self.entries
        reduced = self.entries.reshape(*self.entries.shape[:num_axes], -1)
        if (reduced != reduced[..., :1]).any():
            raise UnsupportedModelError(
                f"Expected each value of {self.name!r} to be observed or missing as a whole; some "
                "are observed in part. Leave these out, or model parts by scalar components:\n\n"
                "    missing = np.ma.getmaskarray(np.ma.masked_invalid(data))\n"
                "    data = np.where(missing.any(axis=-1, keepdims=True), np.nan, data)"
            )
        return reduced[..., 0]

    def whole(self, missing_part: Variable) -> Variable:
        """Return one random variable that draws the values, whether they are observed or not.

        Parameters
        ----------
        missing_part : Variable
            What the missing ones are drawn from.

        Raises
        ------
        UnsupportedModelError
            If they are not drawn alike.
        """
        if not self.is_split:
            return self.variable
        nodes = [part.owner for part in (self.observed_part, missing_part)]
        op = nodes[0].op
        if not isinstance(op, RandomVariable) or type(nodes[1].op) is not type(op):
            raise UnsupportedModelError(
                f"Expected values of {self.name!r} to be drawn from one distribution, for other "
                f"variables depend on them; got {op} and {nodes[1].op}. Write them as a Bernoulli "
                "or Categorical variable:\n\n"
                f'    {self.name} = pm.Categorical("{self.name}", p=weights, observed=masked)'
            )
        pairs = zip(*(op.dist_params(node) for node in nodes), op.ndims_params, strict=True)
        parameters = [self._join(*parts, core) for *parts, core in pairs]
        return op(*parameters, size=self.entries.shape)

    def _join(self, observed: Variable, missing: Variable, core_ndim: int) -> Variable:
        """Put a parameter's rows of observed and missing values back into their places."""
        if observed.type.ndim == core_ndim or all(
            observed.type.broadcastable[: -core_ndim or None]
        ):
            return observed
        shape = (*self.entries.shape, *(observed.shape[i] for i in range(1, observed.type.ndim)))
        whole = pt.zeros(shape, dtype=observed.dtype)
        whole = pt.set_subtensor(whole[self.entries], observed)
        return pt.set_subtensor(whole[~self.entries], missing)


def read_masked(name: str, joined: Variable, observed_part: Variable, values: np.ndarray) -> Masked:
    """Find the mask with which PyMC puts the observed and the missing part together.

    Raises
    ------
    UnsupportedModelError
        If it is not constant.
    """
    entries = _entries(joined, observed_part)
    trailing = joined.type.shape[entries.ndim :]
    if None in trailing:
        trailing = tuple(int(length) for length in joined.shape.eval())[entries.ndim :]
    shape = (*entries.shape, *trailing)
    data = np.full(shape, np.nan if values.dtype.kind == "f" else 0, dtype=values.dtype)
    data[entries] = values
    return Masked(name, joined, observed_part, data, entries)


def _entries(joined: Variable, observed_part: Variable) -> np.ndarray:
    if isinstance(observed_part.owner.op, PartialObservedRV):
        return ~current_value(observed_part.owner.inputs[1])
    for ancestor in ancestors([joined]):
        if ancestor.owner is not None and observed_part in ancestor.owner.inputs:
            for index in ancestor.owner.inputs:
                if isinstance(index, Constant) and index.type.dtype == "bool":
                    return np.asarray(index.data)
    raise UnsupportedModelError(
        f"Expected the missing values of {joined.name!r} to be given by a constant mask; got a "
        "mask that cannot be read. Give the observations as a masked array:\n\n"
        "    observed=np.ma.masked_invalid(data)"
    )
