"""How an observed variable responds to what it is given: the basis of reading by asking.

The response is the log density of each entry where PyMC knows it, and the parameters of the
distribution where not. Both have one value (or one vector) per entry, so that a change of an
indicator or of a covariate shows at the entries that depend on it, and at no others.
"""

import math

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pytensor.tensor as pt
import torch

from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.traversal import ancestors, io_toposort
from pytensor.tensor.basic import Alloc
from pytensor.tensor.random.op import RNGConsumerOp
from pytensor.tensor.shape import Reshape
from pytensor.tensor.type import TensorType
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError, UnsupportedModelError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.memory import MEMORY
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation

__all__ = [
    "Response",
    "Responses",
    "constant_value",
    "differs",
    "entry_shape",
    "observation_inputs",
    "response_of_indicator",
]

_NUMBERS_PER_ENTRY = 32
_WORK = 2**26
_FEWEST_DRAWS = 3


def entry_shape(observation: Observation) -> tuple[int, ...]:
    """Shape of an observation's density: that of its data without the event axes."""
    shape = observation.data.shape
    if observation.split:
        shape = (int(observation.observed.sum()), *shape[observation.observed.ndim :])
    event_ndim = observation.density_variable.owner.op.ndim_supp
    return shape[: len(shape) - event_ndim]


def observation_inputs(complete: CompleteModel, observation: Observation) -> list[Variable]:
    """Return where the graph of an observation's density is cut, its own value apart."""
    others = [o.variable for o in complete.observations_behind(observation)]
    return [*complete.parameter_variables, *complete.indicator_variables, *others]


def observation_input_names(complete: CompleteModel, observation: Observation) -> list[str]:
    """Return the names that belong to :func:`observation_inputs`."""
    return [
        *(parameter.name for parameter in complete.parameters),
        *(indicator.name for indicator in complete.indicators),
        *(o.name for o in complete.observations_behind(observation)),
    ]


class Response:
    """The response of an observed variable to indicators, covariates and its own values.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    observation : Observation
        One of its observations.
    draws : mapping of str to Tensor, shape (M, *shape)
        Simulated data sets with parameters and indicators: what is given where nothing else is.
    data : mapping of Variable to array
        Covariates that can be given, with their values.

    Attributes
    ----------
    data : dict of Variable to Tensor, shape (1, *shape)
        The covariates.
    missing_density : str or None
        Why the log density is not known, where it is not.
    """

    def __init__(
        self,
        complete: CompleteModel,
        observation: Observation,
        draws: Mapping[str, Tensor],
        data: Mapping[Variable, np.ndarray] = MappingProxyType({}),
    ) -> None:
        self.entry_shape = entry_shape(observation)
        value = observation.density_variable.type()
        behind = set(ancestors(observation.roots))
        named = {
            name: variable
            for name, variable in zip(
                observation_input_names(complete, observation),
                observation_inputs(complete, observation),
                strict=True,
            )
            if variable in behind
        }
        inputs = [*named.values(), *data]
        own = draws[observation.name]
        if observation.split:
            own = own[:, torch.as_tensor(observation.observed, device=own.device)]
        self.num_draws = len(own)
        self.values = own.to(getattr(torch, value.type.dtype))
        self._given = {variable: draws[name] for name, variable in named.items()}
        self.data = {v: torch.as_tensor(np.array(x)).unsqueeze(0) for v, x in data.items()}
        self._by_name: dict[Variable | str, Variable] = {**named}
        outputs, self._trailing, self.missing_density = _find_responding(observation, value, inputs)
        self._inputs = inputs
        try:
            self._graph = density_graph([*inputs, value], outputs)
        except DensityUnavailableError as error:
            raise UnsupportedModelError(
                f"Expected {observation.name!r} to depend on variables that the model names; it "
                "depends on a random draw that is none of them, such as a Categorical.dist in a "
                "scan. Make it a variable, by a function that returns the draws:\n\n"
                '    z = pm.CustomDist("z", *arguments, dist=draw_states, shape=T)'
            ) from error

    def __call__(
        self,
        given: Mapping[Variable | str, Tensor],
        value: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> list[Tensor]:
        """Return responses (R, *entries, features), for R runs.

        Parameters
        ----------
        given : mapping of str or Variable to Tensor, shape (R or 1, *shape)
            What differs from the draws, by name or variable.
        value : Tensor, shape (R, *entries, *event), optional
            Values of the observation.
        rows : Tensor of int, shape (R,), optional
            Which draw everything else is taken from, run by run. Default: each draw once.
        """
        rows = torch.arange(self.num_draws) if rows is None else rows
        known = {**self.data, **{self._by_name.get(key, key): x for key, x in given.items()}}
        value, num_runs = self.values[rows] if value is None else value, len(rows)
        tensors = [known[v] if v in known else self._given[v][rows] for v in self._inputs]
        arguments = [x.expand(num_runs, *x.shape[1:]) for x in (*tensors, value)]
        results = self._graph(arguments, batch=num_runs)
        return [
            self._align(result, trailing, num_runs)
            for result, trailing in zip(results, self._trailing, strict=True)
        ]

    def pieces(self, num_runs: int = 1) -> Iterator[Tensor]:
        """Yield draws, in pieces that fit into memory with so many runs of each.

        Of large data sets with many runs not all of them.
        """
        each = num_runs * max(self._size, 1)
        num_draws = min(self.num_draws, max(_FEWEST_DRAWS, _WORK // each))
        each = max(each, num_runs * _NUMBERS_PER_ENTRY * math.prod(self.entry_shape))
        yield from torch.arange(num_draws).split(MEMORY.at_once(each))

    @cached_property
    def _size(self) -> int:
        """How many numbers one run computes in a step: of all entries, features, and events."""
        event = self.values[0].numel() // max(math.prod(self.entry_shape), 1)
        features = sum(response.numel() for response in self({}, rows=torch.arange(1)))
        return features * event

    def _align(self, result: object, trailing: int, num_runs: int) -> Tensor:
        is_batched = isinstance(result, Tensor)
        tensor = result if is_batched else torch.as_tensor(np.array(result)).unsqueeze(0)
        last = tensor.shape[tensor.ndim - trailing :]
        missing = len(self.entry_shape) + trailing + 1 - tensor.ndim
        tensor = tensor.reshape(tensor.shape[0], *(1,) * missing, *tensor.shape[1:])
        tensor = tensor.expand(num_runs, *self.entry_shape, *last)
        return tensor.reshape(num_runs, *self.entry_shape, math.prod(last)).double()


def differs(x: Tensor, y: Tensor) -> Tensor:
    """Compare responses up to rounding, NaN and infinities being equal to themselves.

    Vectorized arithmetic may round the last digit differently from one place to another.
    """
    if x.shape == y.shape and torch.equal(x, y):  # which takes a tenth of the time
        return torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)
    close = torch.isclose(x, y, rtol=1e-10, atol=1e-12, equal_nan=True)
    return ~close.all(-1)  # (R, *entries)


def _find_responding(
    observation: Observation, value: Variable, given: Sequence[Variable]
) -> tuple[list[Variable], list[int], str | None]:
    """Return what responds, how many axes each has after those of the entries, and what lacks."""
    if observation.components is None:
        return _response_of_distribution(observation.density_variable, value, 0, given)
    components = observation.components
    single = len(components) == 1
    variables, trailing, missing = [observation.weights], [1], None
    for component in components:
        axis = -component.owner.op.ndim_supp - 1
        own_value = pt.expand_dims(value, axis) if single else value
        more_variables, more_trailing, reason = _response_of_distribution(
            component, own_value, int(single), given
        )
        variables += more_variables
        trailing += more_trailing
        missing = missing or reason
    return variables, trailing, missing


def _response_of_distribution(
    variable: Variable, value: Variable, component_axes: int, given: Sequence[Variable]
) -> tuple[list[Variable], list[int], str | None]:
    try:
        return [elementwise_logp(variable, value, given)], [component_axes], None
    except DensityUnavailableError as error:
        parameters = _parameters(variable)
        axes = [ndim + component_axes for _, ndim in parameters]
        return [p for p, _ in parameters], axes, str(error)


def _parameters(variable: Variable) -> list[tuple[Variable, int]]:
    """Return the parameters of a distribution with their core axes, of those inside it too."""
    op = variable.owner.op
    if isinstance(op, TruncatedRV):  # which does not say what its inputs are
        return [(parameter, 0) for parameter in variable.owner.inputs[2:]]
    found = []
    for parameter, ndim in zip(op.dist_params(variable.owner), op.ndims_params, strict=True):
        nested = parameter.owner is not None and isinstance(parameter.owner.op, RNGConsumerOp)
        found += _parameters(parameter) if nested else [(parameter, ndim)]
    return found


class Responses:
    """The responses of a model's observed variables and indicators, each made once.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    draws : mapping of str to Tensor, shape (M, *shape)
        Simulated data sets with parameters and indicators.
    """

    def __init__(self, complete: CompleteModel, draws: Mapping[str, Tensor]) -> None:
        self.complete, self.draws = complete, draws
        self._made: dict[str, Response] = {}

    def of(self, item: Observation | Indicator) -> Response:
        """Return the response of an observed variable, or of an indicator's probability."""
        if item.name not in self._made:
            make = _with_data if isinstance(item, Observation) else response_of_indicator
            self._made[item.name] = make(self.complete, item, self.draws)
        return self._made[item.name]


def response_of_indicator(
    complete: CompleteModel, indicator: Indicator, draws: Mapping[str, Tensor]
) -> Response:
    """Return how the probability of an indicator responds to others."""
    others = tuple(i for i in complete.indicators if i is not indicator)
    as_observation = Observation(
        name=indicator.name,
        variable=indicator.variable,
        density_variable=indicator.variable,
        components=None,
        weights=None,
        mixture_indicator=None,
        data=np.empty(draws[indicator.name].shape[1:]),
        observed=None,
        split=False,
        dims=None,
    )
    rest = replace(complete, indicators=others, observations=(as_observation,))
    return _with_data(rest, as_observation, draws)


def _with_data(
    complete: CompleteModel, observation: Observation, draws: Mapping[str, Tensor]
) -> Response:
    data = {v: constant_value(v) for v in _data_behind(complete, observation)}
    return Response(complete, observation, draws, data)


def constant_value(variable: Variable) -> np.ndarray:
    """Return the value of data that the model holds."""
    return np.asarray(BatchedGraph([], [variable])([])[0])


def _data_behind(complete: CompleteModel, observation: Observation) -> list[Variable]:
    """Return ``pm.Data`` and constant arrays on which an observation depends."""
    roots = observation.roots
    cut = observation_inputs(complete, observation)
    data = list(complete.data.values())
    nodes = io_toposort([*cut, *data], roots)
    random = set(cut)
    for node in nodes:
        if isinstance(node.op, RNGConsumerOp) or not random.isdisjoint(node.inputs):
            random.update(node.outputs)
    found: list[Variable] = []
    for node in nodes:
        if random.isdisjoint(node.outputs):
            continue
        for variable in _value_inputs(node):
            if variable not in random and variable not in data and variable not in found:
                found.append(variable)
    above = set(ancestors(roots, blockers=[*cut, *data]))
    named = [variable for variable in data if variable in above]
    return [*named, *(v for v in found if _is_array(v) and not set(data) & set(ancestors([v])))]


def _is_array(variable: Variable) -> bool:
    """Whether a variable can hold covariates: not a single number, and not a mask."""
    return variable.type.dtype != "bool" and any(length != 1 for length in variable.type.shape)


def _value_inputs(node: Apply) -> list[Variable]:
    """Return the inputs of a node that are values, not sizes."""
    if isinstance(node.op, RNGConsumerOp):
        return list(node.op.dist_params(node)) if getattr(node.op, "signature", None) else []
    if isinstance(node.op, Alloc | Reshape):
        return list(node.inputs[:1])
    return [variable for variable in node.inputs if isinstance(variable.type, TensorType)]
