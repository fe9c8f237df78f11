"""Variables that a Python function draws: ``pm.CustomDist(random=...)`` and ``pm.Simulator``.

PyMC calls such a function once per data set. One that is written in NumPy often takes any leading
axes of its parameters; whether it does cannot be read, so it is tried: its draws for several data
sets at once must have the shape and the law of draws for one at a time. A function that does not
pass is left to compiled PyTensor.
"""

import time
import warnings
import weakref

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from pymc.distributions.custom import CustomDistRV
from pymc.distributions.simulator import SimulatorRV
from pytensor.graph.basic import Apply
from pytensor.tensor.random.op import RandomVariable
from torch import Tensor

from pymc_amortized.errors import UnconvertibleOpError, UnsupportedModelError
from pymc_amortized.graph.callbacks.same_law import p_value_of_same_law
from pymc_amortized.graph.interpreter import Rule, Run, Value, as_tensor, batch_rule, torch_dtype
from pymc_amortized.graph.samplers import Sampler, sampler
from pymc_amortized.messages import log_info, spoken_duration

__all__ = ["Arguments", "RandomFunction"]

_CALLS, _REPEATS, _ROWS = 8, 4, 16
_LEVEL = 1e-3
_MAX_SECONDS = 60.0  # that a trial may take


@dataclass(frozen=True, slots=True)
class Arguments:
    """Parameters of several data sets, as the graph has them.

    Attributes
    ----------
    values : tuple of array, shape (B, *shape) where batched, (*shape) where not
        One per parameter.
    batched : tuple of bool
        Which have an axis of data sets.
    core_ndims : tuple of int
        Number of axes of each that belong to a single draw.
    size : tuple of int or None
        What PyMC calls the function with for one data set.
    """

    values: tuple[np.ndarray, ...]
    batched: tuple[bool, ...]
    core_ndims: tuple[int, ...]
    size: tuple[int, ...] | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Shape of one data set without its event axes."""
        if self.size is not None:
            return self.size
        leads = [s[: len(s) - n] for s, n in zip(self._shapes, self.core_ndims, strict=True)]
        return tuple(np.broadcast_shapes(*leads))

    @property
    def kind(self) -> tuple:
        """What two sets of arguments share to which one trial applies."""
        return (self.size is None, len(self.sizes), self.batched, *map(len, self._shapes))

    def take(self, rows: np.ndarray) -> "Arguments":
        """Return the parameters of some data sets."""
        pairs = zip(self.values, self.batched, strict=True)
        values = tuple(x[rows] if is_batched else x for x, is_batched in pairs)
        return Arguments(values, self.batched, self.core_ndims, self.size)

    def of_one(self, row: int) -> list[np.ndarray]:
        """Return what PyMC calls the function with for one data set."""
        pairs = zip(self.values, self.batched, strict=True)
        return [(x[row, ...] if is_batched else x).copy() for x, is_batched in pairs]

    def of_all(self) -> list[np.ndarray]:
        """Return what the function is called with for all of them.

        The axis of data sets lies left of those of the size, so that parameters broadcast.
        """
        arrays = []
        for x, is_batched, shape, core in zip(
            self.values, self.batched, self._shapes, self.core_ndims, strict=True
        ):
            missing = len(self.sizes) + core - len(shape) if is_batched else 0
            arrays.append((x.reshape(len(x), *(1,) * missing, *shape) if missing else x).copy())
        return arrays

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        pairs = zip(self.values, self.batched, strict=True)
        return [x.shape[1:] if is_batched else x.shape for x, is_batched in pairs]


@dataclass(slots=True)
class Findings:
    """What trials of a function have found.

    Attributes
    ----------
    kinds : set of tuple
        The kinds of arguments of which it takes many data sets at once.
    refusal : str or None
        Why it has to be called once per data set, if it has to.
    event : tuple of int or None
        The shape of its event, once known.
    """

    kinds: set[tuple] = field(default_factory=set)
    refusal: str | None = None
    event: tuple[int, ...] | None = None


# By the class of the operation, of which PyMC makes one for each variable.
_FINDINGS: weakref.WeakKeyDictionary[type, Findings] = weakref.WeakKeyDictionary()


class RandomFunction:
    """A function that draws a variable, called for as many data sets at once as it can be.

    Parameters
    ----------
    op : RandomVariable
        A ``pm.CustomDist`` with ``random=``, or a ``pm.Simulator``. It is tried once, wherever in
        the graphs of models it is.
    """

    def __init__(self, op: RandomVariable) -> None:
        self._function = op.rng_fn
        self._ndim_supp = op.ndim_supp
        self._name = op.name
        event = () if op.ndim_supp == 0 else None
        self._found = _FINDINGS.setdefault(type(op), Findings(event=event))

    def draw(self, generator: torch.Generator, arguments: Arguments, count: int) -> Tensor:
        """Draw ``count`` data sets.

        Returns
        -------
        Tensor, shape (count, *size, *event)
            In the type that the function returns.

        Raises
        ------
        UnconvertibleOpError
            If the function has to be called once per data set, which is left to PyTensor.
        UnsupportedModelError
            If it returns more axes than PyTensor takes then.
        """
        if self._found.refusal is not None:
            raise UnconvertibleOpError(self._name, self._found.refusal)
        if count == 0 and self._found.event is not None:
            return torch.zeros((0, *arguments.sizes, *self._found.event), device=generator.device)
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        rng = np.random.default_rng(seed)
        try:
            draws = self._draw(rng, arguments, count)
        except Exception as error:  # whatever the user's function raises
            self._require_shape_for_pytensor(arguments)
            self._found.refusal = _reason(error)
            raise UnconvertibleOpError(self._name, self._found.refusal) from error
        self._found.event = draws.shape[draws.ndim - self._ndim_supp :]
        return as_tensor(draws, generator.device)

    def _draw(self, rng: np.random.Generator, arguments: Arguments, count: int) -> np.ndarray:
        if count < _ROWS:
            return self._singly(rng, arguments, count)
        kinds = self._found.kinds
        if arguments.kind not in kinds:
            rows = np.linspace(0, count - 1, _ROWS).astype(int)
            self._require_same_law(arguments.take(np.tile(rows, _REPEATS)))
            if not kinds:
                log_info(
                    f"{self._name}: its function takes many data sets at once, and is called once "
                    "per batch. Draws of it, many at once and one at a time, have the same law."
                )
            kinds.add(arguments.kind)
        return self._together(rng, arguments, count)

    def _require_shape_for_pytensor(self, arguments: Arguments) -> None:
        """Refuse draws with axes in front, of which PyTensor takes the first number only."""
        try:
            one = self._function(np.random.default_rng(0), *arguments.of_one(0), arguments.size)
        except Exception:  # which it raises again where it is called for data
            return
        expected = len(arguments.sizes) + self._ndim_supp
        if np.ndim(one) > expected:
            raise UnsupportedModelError(
                f"Expected random= of {self._name!r} to return {expected} axes, those of size "
                f"{arguments.sizes} first; got an array of shape {np.shape(one)}, for PyMC gives "
                "scalar parameters as many axes as the size has. Return the axes of the size:\n\n"
                "    def random_of_size(*parameters, rng=None, size=None):\n"
                "        return random(*parameters, rng=rng, size=size).reshape(size)"
            )

    def _require_same_law(self, arguments: Arguments) -> None:
        rng, count = np.random.default_rng(_ROWS), _REPEATS * _ROWS
        began = time.perf_counter()
        self._singly(rng, arguments, 1)
        seconds = (time.perf_counter() - began) * _CALLS * count
        if seconds > _MAX_SECONDS:
            raise ValueError(f"to try whether it takes many would take {spoken_duration(seconds)}")
        rng = np.random.default_rng(_ROWS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            many = np.stack([self._together(rng, arguments, count) for _ in range(_CALLS)])
            one = np.stack([self._singly(rng, arguments, count) for _ in range(_CALLS)])
        if one.shape != many.shape:
            raise ValueError(f"of many, it returns {many.shape[1:]} instead of {one.shape[1:]}")
        shape = (_CALLS, _REPEATS, _ROWS, *one.shape[2:])
        if p_value_of_same_law(one.reshape(shape), many.reshape(shape)) < _LEVEL:
            raise ValueError("draws of many at once have another law")

    def _together(self, rng: np.random.Generator, arguments: Arguments, count: int) -> np.ndarray:
        size = (count, *arguments.sizes)
        return self._checked(np.array(self._function(rng, *arguments.of_all(), size)), size)

    def _singly(self, rng: np.random.Generator, arguments: Arguments, count: int) -> np.ndarray:
        draws = np.stack(
            [self._function(rng, *arguments.of_one(i), arguments.size) for i in range(count)]
        )
        return self._checked(draws, (count, *arguments.sizes))

    def _checked(self, draws: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """Return draws without axes of length 1 that lead those of the size, as of ``x[None]``.

        PyMC gives scalar parameters as many axes as the size has.
        """
        while draws.ndim > max(len(size) + self._ndim_supp, 1) and draws.shape[1] == 1:
            draws = draws[:, 0]
        if draws.shape[: len(size)] != size or draws.ndim != len(size) + self._ndim_supp:
            raise ValueError(f"of size {size}, it returns an array of shape {draws.shape}")
        return draws


def _reason(error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
    return f"its function takes one data set at a time: {first_line}"


@batch_rule.register(CustomDistRV)
@batch_rule.register(SimulatorRV)
def _function_rule(op: RandomVariable, node: Apply) -> Rule:
    function = RandomFunction(op)
    core_ndims = tuple(op.ndims_params)
    dtype = torch_dtype(node.outputs[1].type.dtype)

    def rule(run: Run, rng: object, size: Value | None, *values: Value) -> tuple[None, Tensor]:
        if run.generator is None:
            raise UnconvertibleOpError(str(op), "a random draw, where no randomness is expected")
        batched = tuple(isinstance(value, Tensor) for value in values)
        arrays = tuple(_array(value) for value in values)
        sizes = None if size is None else tuple(int(n) for n in np.atleast_1d(size))
        arguments = Arguments(arrays, batched, core_ndims, sizes)
        return None, function.draw(run.generator, arguments, run.batch).to(dtype)

    return rule


@sampler.register(CustomDistRV)
@sampler.register(SimulatorRV)
def _function_sampler(op: RandomVariable) -> Sampler:
    function = RandomFunction(op)
    core_ndims = tuple(op.ndims_params)

    def draw(generator: torch.Generator, shape: Sequence[int], *parameters: Tensor) -> Tensor:
        count = shape[0]
        batched = tuple(len(x) == count for x in parameters)
        pairs = zip(parameters, batched, strict=True)
        arrays = tuple(_array(x if is_batched else x[0]) for x, is_batched in pairs)
        arguments = Arguments(arrays, batched, core_ndims, tuple(shape[1:]))
        return function.draw(generator, arguments, count)

    return draw


def _array(value: Value) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
