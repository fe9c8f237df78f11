"""How an observed variable responds to what it is given: the basis of reading by asking.

The response is the log density of each entry where PyMC knows it, and the parameters of the
distribution where not. Both have one value (or one vector) per entry, so that a change of an
indicator or of a covariate shows at the entries that depend on it, and at no others.
"""

import math

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytensor.tensor as pt
import torch

from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Variable
from pytensor.tensor.random.op import RNGConsumerOp
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError, UnsupportedModelError
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.memory import MEMORY
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation

__all__ = ["Response", "differs", "entry_shape", "observation_inputs"]

_NUMBERS_PER_ENTRY = 32


def entry_shape(observation: Observation) -> tuple[int, ...]:
    """Shape of an observation's density: that of its data without the event axes."""
    shape = observation.data.shape
    if observation.split:
        shape = (int(observation.observed.sum()), *shape[observation.observed.ndim :])
    event_ndim = observation.density_variable.owner.op.ndim_supp
    return shape[: len(shape) - event_ndim]


def observation_inputs(complete: CompleteModel, observation: Observation) -> list[Variable]:
    """Return where the graph of an observation's density is cut, its own value apart."""
    others = [o.variable for o in complete.observations if o is not observation]
    return [*complete.parameter_variables, *complete.indicator_variables, *others]


def observation_input_names(complete: CompleteModel, observation: Observation) -> list[str]:
    """Return the names that belong to :func:`observation_inputs`."""
    return [
        *(parameter.name for parameter in complete.parameters),
        *(indicator.name for indicator in complete.indicators),
        *(o.name for o in complete.observations if o is not observation),
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
    extra : sequence of Variable
        Further variables that can be given, covariates for instance.
    prior_of : Indicator, optional
        An indicator with one unit for each entry of the first axes. Its own log probability is
        then part of the response.
    """

    def __init__(
        self,
        complete: CompleteModel,
        observation: Observation,
        draws: Mapping[str, Tensor],
        extra: Sequence[Variable] = (),
        prior_of: Indicator | None = None,
    ) -> None:
        self.entry_shape = entry_shape(observation)
        value = observation.density_variable.type()
        inputs = [*observation_inputs(complete, observation), *extra]
        names = observation_input_names(complete, observation)
        own = draws[observation.name]
        if observation.split:
            own = own[:, torch.as_tensor(observation.observed, device=own.device)]
        self.num_draws = len(own)
        self.values = own.to(getattr(torch, value.type.dtype))
        self._given: dict[Variable | str, Tensor] = {
            variable: draws[name] for variable, name in zip(inputs, names, strict=False)
        }
        self._by_name = dict(zip(names, inputs, strict=False))
        outputs, self._trailing = _find_responding(observation, value, inputs)
        self._prior_of: tuple[str, Variable] | None = None
        if prior_of is not None:
            z, state = prior_of.variable, prior_of.variable.type()
            logp = elementwise_logp(z, state, complete.parameter_variables)
            outputs.append(pt.shape_padright(logp, len(self.entry_shape) - z.type.ndim))
            self._trailing.append(0)
            self._prior_of = (prior_of.name, state)
            self._given[state] = draws[prior_of.name]
            inputs.append(state)
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
        changed = {self._by_name.get(key, key): tensor for key, tensor in given.items()}
        if self._prior_of is not None and self._prior_of[0] in given:
            changed[self._prior_of[1]] = given[self._prior_of[0]]
        value, num_runs = self.values[rows] if value is None else value, len(rows)
        tensors = [changed[v] if v in changed else self._given[v][rows] for v in self._inputs]
        arguments = [x.expand(num_runs, *x.shape[1:]) for x in (*tensors, value)]
        results = self._graph(arguments, batch=num_runs)
        return [
            self._align(result, trailing, num_runs)
            for result, trailing in zip(results, self._trailing, strict=True)
        ]

    def pieces(self, num_runs: int = 1) -> Iterator[Tensor]:
        """Yield all draws, in pieces that fit into memory with so many runs of each."""
        each = _NUMBERS_PER_ENTRY * num_runs * math.prod(self.entry_shape)
        yield from torch.arange(self.num_draws).split(MEMORY.at_once(each))

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
    close = torch.isclose(x, y, rtol=1e-10, atol=1e-12, equal_nan=True)
    return ~close.all(-1)  # (R, *entries)


def _find_responding(
    observation: Observation, value: Variable, given: Sequence[Variable]
) -> tuple[list[Variable], list[int]]:
    """Return the variables that respond, and how many axes each has after those of the entries."""
    if observation.components is None:
        return _response_of_distribution(observation.density_variable, value, 0, given)
    components = observation.components
    single = len(components) == 1
    variables, trailing = [observation.weights], [1]
    for component in components:
        axis = -component.owner.op.ndim_supp - 1
        own_value = pt.expand_dims(value, axis) if single else value
        more_variables, more_trailing = _response_of_distribution(
            component, own_value, int(single), given
        )
        variables += more_variables
        trailing += more_trailing
    return variables, trailing


def _response_of_distribution(
    variable: Variable, value: Variable, component_axes: int, given: Sequence[Variable]
) -> tuple[list[Variable], list[int]]:
    try:
        return [elementwise_logp(variable, value, given)], [component_axes]
    except DensityUnavailableError:
        parameters = _parameters(variable)
        return [p for p, _ in parameters], [ndim + component_axes for _, ndim in parameters]


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
