"""The only module that knows that two generations of PyMC exist.

PyMC 5 (PyTensor 2, ArviZ 0.x) runs on Python 3.11, PyMC 6 (PyTensor 3, ArviZ 1.x) on Python 3.12
and newer.
"""

import importlib
import importlib.metadata
import inspect

from collections.abc import Mapping, Sequence
from typing import Any

import arviz
import xarray

from pytensor.compile.mode import Mode
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import graph_replace

__all__ = [
    "groups_of_result",
    "has_time_varying_transitions",
    "inline",
    "is_marginal",
    "marginalized_dims",
    "marginalized_name",
    "notes_slots",
    "one_index_ops",
    "op_class",
    "own_axis",
    "positive_definite_ops",
    "reference_mode",
    "result_of_groups",
    "supports_time_varying_chains",
]

_HOMES = {
    "IfElse": ("pytensor.conditional.op", "pytensor.ifelse"),
    "Cholesky": ("pytensor.tensor.linalg.decomposition.cholesky", "pytensor.tensor.slinalg"),
    "SolveTriangular": ("pytensor.tensor.linalg.solvers.triangular", "pytensor.tensor.slinalg"),
    "Solve": ("pytensor.tensor.linalg.solvers.general", "pytensor.tensor.slinalg"),
    "MatrixInverse": ("pytensor.tensor.linalg.inverse", "pytensor.tensor.nlinalg"),
    "Det": ("pytensor.tensor.linalg.summary", "pytensor.tensor.nlinalg"),
    "SLogDet": ("pytensor.tensor.linalg.summary", "pytensor.tensor.nlinalg"),
    "Eigh": ("pytensor.tensor.linalg.decomposition.eigen", "pytensor.tensor.nlinalg"),
}


def op_class(name: str) -> type:
    """Return the class of a PyTensor operation, from the newer of its homes first."""
    for module_name in _HOMES[name]:
        try:
            return getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"Expected PyTensor to have an operation {name!r}; it has none.")


def one_index_ops() -> tuple[type, ...]:
    """Return the operations that PyTensor 2 has for indexing by a single vector."""
    subtensor = importlib.import_module("pytensor.tensor.subtensor")
    names = ("AdvancedSubtensor1", "AdvancedIncSubtensor1")
    return tuple(getattr(subtensor, name) for name in names if hasattr(subtensor, name))


def positive_definite_ops() -> tuple[type, ...]:
    """Return the operation by which PyMC 5 asks whether a matrix is positive definite."""
    module = importlib.import_module("pymc.distributions.multivariate")
    return (module.PosDefMatrix,) if hasattr(module, "PosDefMatrix") else ()


def own_axis(op: Op) -> int | None:
    """Return the axis of an operation as PyTensor 3 has it; None where it is the first input."""
    return getattr(op, "axis", None)


def has_time_varying_transitions(op: Op) -> bool:
    """Tell whether a chain's transition has an axis of steps (pymc-extras 0.15 and later)."""
    return bool(getattr(op, "time_varying_P", False))


def is_marginal(op: Op) -> bool:
    """Tell whether an operation is what ``pymc_extras.marginalize`` wraps a model in."""
    return isinstance(op, _marginal_class())


def inline(op: Op, inputs: Sequence[Variable]) -> list[Variable]:
    """Return the outputs of an operation's inner graph, for given inputs.

    PyTensor 3 freezes inner graphs, and has a method for this; PyTensor 2 does not.
    """
    bind = getattr(op.fgraph, "bind", None)
    if bind is not None:
        return list(bind(list(inputs)))
    stand_ins = dict(zip(op.fgraph.inputs, inputs, strict=True))
    return graph_replace(list(op.fgraph.outputs), stand_ins, strict=False)


def marginalized_name(node: Apply) -> str | None:
    """Return the name of the variable that was marginalized, if it is still known."""
    return getattr(node.op, "marginalized_name", None) or node.op.inner_outputs[0].name


def marginalized_dims(node: Apply) -> tuple[str, ...] | None:
    """Return the dims of the variable that was marginalized; None if it had none."""
    dims = getattr(node.op, "marginalized_dims", None)
    if dims is None:  # pymc-extras of PyMC 5 keeps them as constants
        dims = [str(dim.data) for dim in getattr(node.op, "dims", ())]
    return tuple(dims) or None


def _marginal_class() -> type:
    try:
        module = importlib.import_module("pymc_extras.model.marginal.distributions.core")
    except ImportError:
        module = importlib.import_module("pymc_extras.model.marginal.distributions")
    return module.MarginalRV


def supports_time_varying_chains() -> bool:
    """Tell whether ``pymc_extras.DiscreteMarkovChain`` takes one transition matrix per step."""
    timeseries = importlib.import_module("pymc_extras.distributions.timeseries")
    return "time_varying_P" in inspect.signature(timeseries.DiscreteMarkovChain.dist).parameters


def notes_slots() -> bool:
    """Tell whether digests hold what Python notes in classes of random operations that are copied.

    PyMC 6 compiles copies of them, PyMC 5 the operations themselves.
    """
    return int(importlib.metadata.version("pymc").split(".")[0]) > 5


def reference_mode() -> Mode:
    """Return a PyTensor mode that compiles small graphs fast, for reference computations.

    It runs in Python, after the rewrites that keep densities numerically stable.
    """
    return Mode(linker="py", optimizer="fast_compile").including("canonicalize", "stabilize")


def groups_of_result(result: Any) -> dict[str, xarray.Dataset] | None:
    """Return the groups of InferenceData or of a DataTree by name; None of anything else."""
    if isinstance(result, getattr(xarray, "DataTree", ())):
        nodes = {node.path.strip("/"): node for node in result.subtree if node.has_data}
        return {path: node.to_dataset() for path, node in nodes.items() if path}
    names = getattr(result, "groups", None)
    return {name: result[name] for name in names()} if callable(names) else None


def result_of_groups(groups: Mapping[str, xarray.Dataset]) -> Any:
    """Return InferenceData (ArviZ 0.x) or a DataTree (ArviZ 1.x) of groups."""
    if int(arviz.__version__.split(".")[0]) < 1:
        result = arviz.InferenceData(**groups)
        for name, group in groups.items():
            if name not in result.groups():  # it has no variables, but attributes
                result[name] = group
        return result
    return xarray.DataTree.from_dict(dict(groups))
