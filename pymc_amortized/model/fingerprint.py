"""A fingerprint of a model: equal for models that a trained network can serve alike.

It covers the graph of every variable with its operations and constants, transforms, data that the
model conditions on, shapes and masks of the observations, but not the observed values.
"""

import ast
import functools
import hashlib
import pathlib
import pickle
import sys
import sysconfig
import types
import uuid

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pymc.logprob.transforms import Transform
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import io_toposort
from pytensor.graph.type import Type
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.shape import Shape, Shape_i

from pymc_amortized.compat import notes_slots
from pymc_amortized.model.complete_model import CompleteModel, Observation, without_casts

__all__ = ["describe_value", "digest", "fingerprint_parts", "names_of_parts"]

_INSTALLED = (
    pathlib.Path(__file__).parents[1],
    *(sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")),
)
_NOT_OF_A_CLASS = {
    "__abstractmethods__",
    "__annotations__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__module__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}
_HEAP_TYPE = 1 << 9  # of CPython: set for classes that are made at run time
_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType)
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def digest(*parts: str) -> str:
    """Return a hash of texts, 32 hexadecimal digits long."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def fingerprint_parts(complete: CompleteModel) -> dict[str, str]:
    """Return a hash for each part of a model, by what a user would call it.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.

    Returns
    -------
    dict of str to str
        Such as ``{"parameter 'mu'": ..., "observation 'y'": ...}``. Two models are the same if all
        parts are equal. A part that differs by its own graph alone is found by its key: variables
        that it depends on enter by their names.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_amortized.model.reading.completion import complete_model
    >>> def parts(mean, y):
    ...     with pm.Model() as model:
    ...         mu = pm.Normal("mu", mean, 1)
    ...         pm.Normal("y", mu, 1, observed=y)
    ...     return fingerprint_parts(complete_model(model))
    >>> parts(0.0, [1.0, 2.0]) == parts(0.0, [3.0, 4.0])
    True
    >>> before, after = parts(0.0, [1.0, 2.0]), parts(9.0, [1.0, 2.0])
    >>> [name for name in before if before[name] != after[name]]
    ["parameter 'mu'"]
    """
    named: dict[Variable, str] = {}
    for kind in ("parameters", "indicators", "observations"):
        named.update({item.variable: item.name for item in getattr(complete, kind)})
    named.update({variable: name for name, variable in complete.data.items()})
    parts = {}
    for parameter in complete.parameters:
        graph = _Describer(named, parameter.variable).graph([parameter.variable])
        parts[f"parameter {parameter.name!r}"] = digest(graph, describe_value(parameter.transform))
    for indicator in complete.indicators:
        graph = _Describer(named, indicator.variable).graph([indicator.variable])
        parts[f"indicator {indicator.name!r}"] = digest(graph, indicator.origin)
    for observation in complete.observations:
        parts[f"observation {observation.name!r}"] = _describe_observation(observation, named)
    for kind, variables in (
        ("deterministic", complete.deterministics),
        ("potential", complete.potentials),
    ):
        for name, variable in variables.items():
            parts[f"{kind} {name!r}"] = digest(_Describer(named).graph([variable]))
    for name, variable in complete.data.items():
        parts[f"data {name!r}"] = digest(_Describer({}).graph([variable]))
    return parts


def names_of_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of parameters, indicators and observed variables among parts of a model.

    Examples
    --------
    >>> names_of_parts(["parameter 'mu'", "observation 'y'", "data 'x'"])
    ('mu', 'y')
    """
    kinds = ("parameter", "indicator", "observation")
    split = (part.partition(" ") for part in parts)
    return tuple(ast.literal_eval(name) for kind, _, name in split if kind in kinds)


def _describe_observation(observation: Observation, named: Mapping[Variable, str]) -> str:
    describer = _Describer(named, observation.variable)
    return digest(
        describer.graph([observation.variable]),
        f"{observation.data.dtype} {observation.data.shape}",
        describe_value(observation.observed),
    )


class _Describer:
    """Writes a graph down as text, cut at named variables."""

    def __init__(self, named: Mapping[Variable, str], own: Variable | None = None) -> None:
        self.named = {v: name for v, name in named.items() if v is not own}

    def graph(self, outputs: Iterable[Variable]) -> str:
        outputs = list(outputs)
        numbers: dict[Variable, str] = {v: f"<{name}>" for v, name in self.named.items()}
        numbers |= self._shapes(outputs)
        lines = []
        for node in io_toposort(list(numbers), outputs):
            inputs = ", ".join(self._input(v, numbers) for v in node.inputs)
            for position, output in enumerate(node.outputs):
                numbers.setdefault(output, f"%{len(lines)}.{position}")
            types_ = ", ".join(str(v.type) for v in node.outputs)
            lines.append(f"{describe_value(node.op)}({inputs}) -> {types_}")
        lines.append("return " + ", ".join(self._input(v, numbers) for v in outputs))
        return "\n".join(lines)

    def _shapes(self, outputs: list[Variable]) -> dict[Variable, str]:
        """Describe shapes of data in a graph: as many data with other values are the same there."""
        found = {}
        for node in io_toposort(list(self.named), outputs):
            if isinstance(node.op, Shape | Shape_i):
                root = without_casts(node.inputs[0])
                if isinstance(root, SharedVariable) and root not in self.named:
                    shape = np.shape(root.get_value(borrow=True))
                    one = isinstance(node.op, Shape_i)
                    found[node.outputs[0]] = f"shape {shape[node.op.i] if one else shape}"
        return found

    def _input(self, variable: Variable, numbers: dict[Variable, str]) -> str:
        if variable in numbers:
            return numbers[variable]
        if isinstance(variable.type, RandomType):
            return "rng"
        if isinstance(variable, Constant):
            return describe_value(variable.data)
        if isinstance(variable, SharedVariable):
            return describe_value(variable.get_value())
        return numbers.setdefault(variable, f"input {len(numbers)}: {variable.type}")


# Times are those of a scan that has run: PyTensor 3 has one operation for all that are alike.
_NOT_OF_AN_OPERATION = ("fgraph", "name", "rng", "t_call", "t_fn")


def describe_value(value: Any) -> str:
    """Write down what an operation or a transform is made of.

    Functions and classes that are not part of an installed package are written down with their
    code, and with what the code refers to; those that are, by name. Networks are found again by
    these names, so that classes of this package have one of their own, ``fingerprint_name``, which
    does not depend on the module that they are in.
    """
    return _describe(value, ())


def _describe(value: Any, above: tuple[int, ...]) -> str:
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in above:
        return "itself"
    above = (*above, id(value))
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return f"array {array.dtype} {array.shape} {_bytes(array)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(_describe(item, above) for item in value)})"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(_describe(item, above) for item in value))})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_describe(v, above)}" for k, v in value.items()) + "}"
    if isinstance(value, Variable):
        return _Describer({}).graph([value])
    if isinstance(value, Apply):
        return f"{_describe(value.op, above)} of {[str(v.type) for v in value.inputs]}"
    if isinstance(value, type):
        return _describe_class(value, above)
    if isinstance(value, property):
        return _describe((value.fget, value.fset), above)
    if isinstance(value, staticmethod | classmethod):
        return _describe(value.__func__, above)
    if isinstance(value, types.MethodType):
        return _describe((value.__func__, value.__self__), above)
    if isinstance(value, types.FunctionType):
        return _describe_function(value, above)
    if isinstance(value, types.CodeType):
        constants = _describe([c for c in value.co_consts if c is not None], above)
        return f"{value.co_code.hex()} {value.co_names} {constants}"
    if isinstance(value, functools.partial):
        return _describe((value.func, value.args, value.keywords), above)
    if isinstance(value, Op):
        return _describe_op(value, above)
    if isinstance(value, np.ufunc | np.dtype | Type):
        return repr(value) if isinstance(value, np.dtype | Type) else value.__name__
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, Transform) or not _is_installed(type(value)):
        state = _describe(getattr(value, "__dict__", {}), above)
        return f"{_describe_class(type(value), above)} {state}"
    return f"{_name(type(value))} {_describe_state(value)}"


def _describe_state(value: Any) -> str:
    """Hash an object of a library by what it would be stored as; it is never read back.

    What cannot be stored is like nothing else: its networks are not found again, which costs time,
    and they are never mistaken for others, which would cost the answer.
    """
    try:
        return hashlib.blake2b(pickle.dumps(value), digest_size=16).hexdigest()
    except Exception:
        return uuid.uuid4().hex


def _bytes(array: np.ndarray) -> str:
    if array.dtype == object:
        return repr(array.tolist())
    return hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()


def _name(thing: Any) -> str:
    """Return where a thing is found; of our own classes, a name that stays when they move."""
    own = vars(thing).get("fingerprint_name") if isinstance(thing, type) else None
    return own or f"{thing.__module__}.{thing.__qualname__}"


def _is_installed(thing: Any) -> bool:
    """Whether a class or a function is found by its name in an installed package, or built in."""
    if isinstance(thing, type) and not thing.__flags__ & _HEAP_TYPE:
        return True
    module = sys.modules.get(thing.__module__)
    found = module
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        return False
    return _is_in_a_library(module)


def _is_in_a_library(module: types.ModuleType) -> bool:
    path = getattr(module, "__file__", None)
    if path is None:
        return module.__name__ != "__main__"
    return any(pathlib.Path(path).is_relative_to(home) for home in _INSTALLED)


def _describe_class(cls: type, above: tuple[int, ...]) -> str:
    if _is_installed(cls):
        return _name(cls)
    members = {
        name: item
        for name, item in sorted(vars(cls).items())
        if name not in _NOT_OF_A_CLASS and not isinstance(item, _DESCRIPTORS)
    }
    if issubclass(cls, RandomVariable) and notes_slots():
        members = {"__slotnames__": [], **members}
    bases = [base for base in cls.__bases__ if base is not object]
    return f"{cls.__name__} {_describe(members, above)} {_describe(bases, above)}"


def _describe_function(function: types.FunctionType, above: tuple[int, ...]) -> str:
    if _is_installed(function):
        return _name(function)
    code = function.__code__
    names = sorted(_names_in(code))
    used = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, module in list(used.items()):
        if isinstance(module, types.ModuleType) and not _is_in_a_library(module):
            used |= {f"{name}.{n}": getattr(module, n) for n in names if hasattr(module, n)}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return _describe((code, function.__defaults__, function.__kwdefaults__, cells, used), above)


def _names_in(code: types.CodeType) -> set[str]:
    """Return the names that a piece of code, and the functions defined in it, refer to."""
    inner = (_names_in(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*inner)


def _describe_op(op: Op, above: tuple[int, ...]) -> str:
    """Write down an operation: its class, its properties, and its inner graph."""
    properties = getattr(op, "__props__", None)
    if properties is None:
        properties = sorted(getattr(op, "__dict__", {}))
    held = {
        name: getattr(op, name, None)
        for name in properties
        if name not in _NOT_OF_AN_OPERATION and not name.startswith("_")
    }
    inner = getattr(op, "fgraph", None)
    graph = "" if inner is None else _inner_graph(inner.inputs, inner.outputs)
    return f"{_describe_class(type(op), above)} {_describe(held, above)} {graph}"


def _inner_graph(inputs: Iterable[Variable], outputs: Iterable[Variable]) -> str:
    return _Describer({v: f"argument {i}" for i, v in enumerate(inputs)}).graph(outputs)
