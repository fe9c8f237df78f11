"""Where a graph runs for a batch: in torch, or, where torch cannot, in compiled PyTensor."""

import warnings

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import pytensor
import pytensor.tensor as pt
import torch

from pymc.pytensorf import collect_default_updates
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from torch import Tensor

import pymc_amortized.graph.callbacks.random_function
import pymc_amortized.graph.rules  # noqa: F401

from pymc_amortized.errors import (
    AmortizedError,
    BackendFallbackWarning,
    UnconvertibleOpError,
    UnsupportedModelError,
)
from pymc_amortized.graph.interpreter import BatchedGraph, Value, as_tensor
from pymc_amortized.messages import warn

__all__ = [
    "Backend",
    "BatchedFunction",
    "DrawnInTurn",
    "PyTensorGraph",
    "SwitchingGraph",
    "batched_function",
]

Backend = Literal["auto", "torch", "pytensor"]


class BatchedFunction(Protocol):
    """What evaluates a graph for a batch, wherever it runs."""

    def __call__(
        self,
        values: Sequence[Value],
        *,
        batch: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Return one tensor (B, *shape) per output."""
        ...


def batched_function(
    inputs: Sequence[Variable], outputs: Sequence[Variable], backend: Backend
) -> BatchedFunction:
    """Return the function that evaluates ``outputs`` from ``inputs`` for a batch of data sets."""
    return (
        PyTensorGraph(inputs, outputs)
        if backend == "pytensor"
        else SwitchingGraph(inputs, outputs, may_switch=backend == "auto")
    )


class DrawnInTurn:
    """Variables drawn one after the other, each given all before it.

    Parameters
    ----------
    before : sequence of Variable
        What is given to all of them.
    variables : sequence of Variable
        Each may depend on ``before``, and on those that precede it.
    backend : {"auto", "torch", "pytensor"}
        Where to draw.
    """

    def __init__(
        self, before: Sequence[Variable], variables: Sequence[Variable], backend: Backend
    ) -> None:
        self._functions = [
            batched_function([*before, *variables[:i]], [variable], backend)
            for i, variable in enumerate(variables)
        ]

    def __call__(
        self,
        values: Sequence[Value],
        *,
        batch: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Return one tensor (B, *shape) per variable."""
        given = list(values)
        for function in self._functions:
            given += function(given, batch=batch, device=device, generator=generator)
        return given[len(values) :]


class SwitchingGraph:
    """A graph in torch, which moves to PyTensor for good when it meets an operation torch lacks.

    Parameters
    ----------
    inputs, outputs : sequence of Variable
        As in :class:`~pymc_amortized.graph.interpreter.BatchedGraph`.
    may_switch : bool
        Whether to move to PyTensor, with a warning, or to raise.
    """

    def __init__(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], *, may_switch: bool
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.may_switch = may_switch
        self.torch_graph = BatchedGraph(inputs, outputs)
        self.pytensor_graph: PyTensorGraph | None = None

    def __call__(
        self,
        values: Sequence[Value],
        *,
        batch: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Return one tensor (B, *shape) per output."""
        if self.pytensor_graph is None:
            try:
                results = self.torch_graph(values, batch=batch, device=device, generator=generator)
                return [_expand_to_batch(value, batch, device) for value in results]
            except UnconvertibleOpError as error:
                if not self.may_switch:
                    raise
                names = ", ".join(str(output.name or output) for output in self.outputs)
                warn(
                    f"{error.op_name!r} has no batched torch conversion ({error.reason}), so that "
                    f"{names} will be simulated by compiled PyTensor: slower, and not on the GPU.",
                    BackendFallbackWarning,
                )
                self.pytensor_graph = PyTensorGraph(self.inputs, self.outputs)
        return self.pytensor_graph(values, batch=batch, device=device, generator=generator)


def _expand_to_batch(value: Value, batch: int, device: torch.device) -> Tensor:
    tensor = value if isinstance(value, Tensor) else as_tensor(value, device).unsqueeze(0)
    return tensor.expand(batch, *tensor.shape[1:])


class PyTensorGraph:
    """A graph for one data set, compiled by PyTensor inside a scan over the data sets.

    The graph itself is left as it is, so that whatever PyTensor can run can be run here: Python
    callbacks, and operations that know nothing of batches.
    """

    def __init__(self, inputs: Sequence[Variable], outputs: Sequence[Variable]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._rngs = [
            variable
            for variable in graph_inputs(self.outputs, self.inputs)
            if isinstance(variable.type, RandomType)
        ]
        # A scan must not depend on shared variables, and the simulator is frozen anyway.
        self._constants = {
            variable: pt.constant(variable.get_value())
            for variable in graph_inputs(self.outputs, self.inputs)
            if isinstance(variable, SharedVariable) and variable not in self._rngs
        }
        self._states = [pytensor.shared(np.random.default_rng()) for _ in self._rngs]
        with warnings.catch_warnings():
            # That callbacks run in Python is why we are here.
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            self._function = self._compile()

    def __call__(
        self,
        values: Sequence[Value],
        *,
        batch: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Return one tensor (B, *shape) per output."""
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        for state, child in zip(
            self._states, np.random.default_rng(seed).spawn(len(self._states)), strict=True
        ):
            state.set_value(child, borrow=True)
        arrays = [
            _expand_to_batch(value, batch, torch.device("cpu"))
            .detach()
            .cpu()
            .numpy()
            .astype(v.type.dtype)
            for value, v in zip(values, self.inputs, strict=True)
        ]
        try:
            results = self._function(batch, *arrays)
        except NotImplementedError as error:
            names = ", ".join(str(output.name or output) for output in self.outputs)
            call = f'pm.CustomDist("{names}", *parameters'
            raise UnsupportedModelError(
                f"Expected {names} to have a way to be simulated; it has none. A pm.CustomDist "
                "needs one of:\n\n"
                f"    {call}, dist=dist, observed=data)  # by other distributions\n"
                f"    {call}, logp=logp, random=random, observed=data)  # a Python function"
            ) from error
        except Exception as error:
            if isinstance(error, AmortizedError | MemoryError):
                raise
            names = ", ".join(str(output.name or output) for output in self.outputs)
            [first_line, *_] = str(error).strip().split("\n")
            raise UnsupportedModelError(
                f"Expected {names} to be drawn; PyTensor, or the function that draws, failed with "
                f"{type(error).__name__}: {first_line}. Draw it alone, by PyMC, to see why:\n\n"
                f'    pm.draw(model["{names}"])'
            ) from error
        return [as_tensor(result, device) for result in results]

    def _compile(self) -> Callable[..., list[np.ndarray]]:
        batched = [pt.tensor(dtype=v.type.dtype, shape=(None, *v.type.shape)) for v in self.inputs]
        num_datasets = pt.lscalar("num_datasets")
        num_inputs, num_rngs = len(self.inputs), len(self._rngs)

        def one_dataset(*arguments: Variable) -> list[Variable]:
            stand_ins = dict(zip([*self.inputs, *self._rngs], arguments, strict=True))
            drawn = clone_replace(list(self.outputs), {**stand_ins, **self._constants})
            updates = collect_default_updates(drawn, inputs=arguments, must_be_shared=False)
            states = arguments[num_inputs:]
            return [*(updates.get(state, state) for state in states), *drawn]

        results = pytensor.scan(
            one_dataset,
            sequences=batched,
            outputs_info=[*self._states, *[None] * len(self.outputs)],
            n_steps=num_datasets,
            return_updates=False,
            strict=True,
            return_list=True,
        )
        return pytensor.function(
            [num_datasets, *batched],
            results[num_rngs:],
            updates=dict(zip(self._states, results[:num_rngs], strict=True)),
            on_unused_input="ignore",
        )
