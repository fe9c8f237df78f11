"""A distribution whose density was learned, in the place of one that can only be drawn from."""

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt
import torch

from pymc.distributions.custom import CustomDistRV
from pymc.distributions.simulator import SimulatorRV
from pymc.logprob.abstract import _logprob
from pytensor.graph.basic import Variable
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.networks.likelihood_network import (
    ASINH,
    FURTHEST,
    INFINITE,
    LOG,
    LOG_SCALES,
    RAW,
    SMALLEST,
    LikelihoodNetwork,
)

__all__ = ["LearnedRV", "can_be_learned", "core_arguments", "learned_variable"]


class LearnedRV(CustomDistRV):
    """Draws by a network, and has the network's density.

    PyMC makes a class of each variable that a function draws; so does :func:`learned_variable`.
    """

    name = "Learned"
    network: LikelihoodNetwork
    event_shape: tuple[int, ...]

    @classmethod
    def rng_fn(cls, rng: np.random.Generator, *args: np.ndarray) -> np.ndarray:
        """Draw values of shape (*size, *event)."""
        *parameters, size = args
        pairs = list(zip(parameters, cls.ndims_params, strict=True))
        shapes = [x.shape[: x.ndim - ndim] for x, ndim in pairs]
        batch = np.broadcast_shapes(*shapes) if size is None else tuple(size)
        columns = [
            np.broadcast_to(x, (*batch, *x.shape[x.ndim - ndim :])).reshape(*batch, -1)
            for x, ndim in pairs
        ]
        arguments = torch.as_tensor(np.concatenate(columns, axis=-1)).flatten(0, -2)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        draws = cls.network.sample(arguments, generator).numpy()
        return draws.reshape(*batch, *cls.event_shape).astype(cls.dtype)


def can_be_learned(variable: Variable) -> bool:
    """Tell whether a variable is drawn by a function of its arguments, and by nothing else."""
    return variable.owner is not None and isinstance(variable.owner.op, CustomDistRV | SimulatorRV)


def core_arguments(variable: Variable) -> Variable:
    """Return what one draw of a variable is conditioned on, side by side: (*batch, A)."""
    _, _, *parameters = variable.owner.inputs
    return _side_by_side(parameters, variable.owner.op.ndims_params)


def learned_variable(
    variable: Variable, network: LikelihoodNetwork, event_shape: tuple[int, ...]
) -> Variable:
    """Return a variable of the same arguments that has the density of a network.

    Parameters
    ----------
    variable : Variable
        One that :func:`can_be_learned`.
    network : LikelihoodNetwork
        Of :func:`core_arguments`, and of a draw, flattened.
    event_shape : tuple of int
        The shape of one draw.
    """
    op: RandomVariable = variable.owner.op
    rv_type = type(
        op.name,
        (LearnedRV,),
        {
            "name": op.name,
            "inplace": False,
            "ndim_supp": op.ndim_supp,
            "ndims_params": op.ndims_params,
            "signature": op.signature,
            "dtype": op.dtype if op.dtype != "floatX" else variable.type.dtype,
            "_print_name": op._print_name,
            "network": network.double().cpu().eval(),
            "event_shape": event_shape,
        },
    )
    _logprob.register(rv_type)(_learned_logprob)
    return rv_type().make_node(*variable.owner.inputs).outputs[1]


def _learned_logprob(
    op: LearnedRV,
    values: Sequence[Variable],
    rng: Variable,
    size: Variable,
    *parameters: Variable,
    **kwargs: object,
) -> Variable:
    [value] = values
    arguments = _side_by_side(parameters, op.ndims_params)
    return _LogDensity(op.network).at(arguments, _flattened(value, op.ndim_supp))


class _LogDensity:
    """What :meth:`LikelihoodNetwork.log_prob` computes, as a PyTensor graph.

    Mixtures of single values that depend on arguments alone are computed once for all values that
    share these, so that a data set of a thousand values costs hardly more than one.

    Parameters
    ----------
    network : LikelihoodNetwork
        Its numbers become constants.
    """

    def __init__(self, network: LikelihoodNetwork) -> None:
        self._network = network
        self._tensors = {name: x.numpy() for name, x in network.state_dict().items()}
        self._scales = self._tensors["value_scales"]

    def at(self, arguments: Variable, values: Variable) -> Variable:
        """Return the log density (*batch) of values (*batch, P) given arguments (*batch, A)."""
        network = self._network
        location, scale = self._tensors["argument_scales"].astype("float64").T
        known, values = (arguments - location) / scale, pt.cast(values, "float64")
        scaled, log_slope = self._scaled(values)
        logits, means, log_scales = self._mixtures(known, scaled)
        weights = logits - pt.logsumexp(logits, axis=-1, keepdims=True)
        if not bool(network.is_discrete):
            z = (scaled[..., None] - means) * pt.exp(-log_scales)
            each = -pt.softplus(-z) - pt.softplus(z) - log_scales
            each = pt.logsumexp(weights + each, axis=-1) + log_slope
        else:
            *_, low, high = self._scales.T
            below, above = self._scaled(values - 0.5)[0], self._scaled(values + 0.5)[0]
            below = pt.switch(pt.le(values, low), -INFINITE, below)
            above = pt.switch(pt.ge(values, high), INFINITE, above)
            a = (above[..., None] - means) * pt.exp(-log_scales)
            b = (below[..., None] - means) * pt.exp(-log_scales)
            inside = pt.log(-pt.expm1(-pt.maximum(a - b, 1e-12)))
            each = pt.logsumexp(weights - pt.softplus(-a) - pt.softplus(b) + inside, axis=-1)
        return pt.switch(self._inside(values), each, -np.inf).sum(axis=-1)

    def _scaled(self, values: Variable) -> tuple[Variable, Variable]:
        """Return values on the common scale, and the logarithms of the slopes to it."""
        scaled, log_slopes = [], []
        for d, (kind, before, width, location, scale, *_) in enumerate(self._scales):
            x = values[..., d]
            if kind == LOG:
                warped = pt.log(pt.maximum(x, SMALLEST))
                log_slope = -warped
            else:
                t, log_slope = (x - before) / width, pt.full_like(x, -np.log(width))
                warped = pt.arcsinh(t) if kind == ASINH else t
                log_slope = log_slope - 0.5 * pt.log1p(t**2) if kind == ASINH else log_slope
            scaled.append((warped - location) / scale)
            log_slopes.append(log_slope - np.log(scale))
        return pt.stack(scaled, axis=-1), pt.stack(log_slopes, axis=-1)

    def _inside(self, values: Variable) -> Variable:
        kind, *_, low, high = self._scales.T
        inside = pt.ge(values, low) & pt.le(values, high)
        is_log = kind == LOG
        return inside & (pt.gt(values, 0) | ~is_log) if is_log.any() else inside

    def _mixtures(self, known: Variable, scaled: Variable) -> tuple[Variable, Variable, Variable]:
        network, num_arguments = self._network, self._network.num_arguments
        inputs = pt.clip(scaled, -FURTHEST, FURTHEST)
        hidden, last = None, len(network.weights) - 1
        beside = self._masked("beside", last + 1)
        for i in range(last + 1):
            weight, bias = self._masked(f"weights.{i}", i), self._tensors[f"biases.{i}"]
            if i:
                found = hidden @ weight + bias
            else:
                found = self._of_inputs(known, inputs, weight, num_arguments) + bias
            if i == last:
                hidden = found + self._of_inputs(known, inputs, beside, num_arguments)
            else:
                hidden = found * pt.sigmoid(found) + (hidden if i else 0.0)
        shape = (*(hidden.shape[i] for i in range(hidden.ndim - 1)), network.num_values, 3, -1)
        parts = hidden.reshape(shape, ndim=hidden.ndim + 2)
        low, high = LOG_SCALES
        log_scales = low + (high - low) * pt.sigmoid(parts[..., 2, :] + RAW)
        return parts[..., 0, :], parts[..., 1, :], log_scales

    def _masked(self, name: str, layer: int) -> np.ndarray:
        return (self._tensors[name] * self._tensors[f"mask_{layer}"]).astype("float64")

    @staticmethod
    def _of_inputs(
        known: Variable, inputs: Variable, weight: np.ndarray, num_arguments: int
    ) -> Variable:
        """Return inputs times weights; values are left out where none is before another."""
        of_known, of_values = weight[:num_arguments], weight[num_arguments:]
        result = known @ of_known
        return result + inputs @ of_values if of_values.any() else result


def _side_by_side(parameters: Sequence[Variable], ndims: Sequence[int]) -> Variable:
    """Flatten what belongs to one draw, and put it side by side: (*batch, A)."""
    flat = [_flattened(pt.cast(x, "float64"), n) for x, n in zip(parameters, ndims, strict=True)]
    shape = pt.broadcast_shape(*(x[..., 0] for x in flat))
    spread = [pt.broadcast_to(x, (*shape, x.shape[-1])) for x in flat]
    return pt.concatenate(spread, axis=-1)


def _flattened(variable: Variable, ndim: int) -> Variable:
    """Flatten the last axes of a variable into one, which is added where there are none."""
    if ndim == 0:
        return pt.shape_padright(variable)
    if ndim == 1:
        return variable
    lead = [variable.shape[i] for i in range(variable.ndim - ndim)]
    return variable.reshape((*lead, -1), ndim=len(lead) + 1)
