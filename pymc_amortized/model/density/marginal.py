"""The density of one data set with its indicators summed out, as a PyMC model over one vector."""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace, vectorize_graph
from pytensor.graph.rewriting.utils import rewrite_graph

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.density.batched import BatchedDensity, SymbolicDensity
from pymc_amortized.model.density.likelihood import Likelihood

__all__ = ["FramedData", "MarginalModel"]


@dataclass(frozen=True, slots=True, eq=False)
class FramedData:
    """One data set in m frames of the model's shape.

    Attributes
    ----------
    observations : dict of str to numpy.ndarray, shape (m, *shape)
        Observed variables; anything where entries are not in use.
    covariates : dict of str to numpy.ndarray, shape (m, *shape)
        Covariates that run along units; the model's own where absent.
    used : dict of str to numpy.ndarray of bool, shape (m, *entries)
        For each observed variable, which entries count; those that the model misses never do.
    times : numpy.ndarray of int, shape (T,), or None
        Where the time points of a sequence lie among the rows of all frames.
    """

    observations: dict[str, np.ndarray]
    covariates: dict[str, np.ndarray]
    used: dict[str, np.ndarray]
    times: np.ndarray | None = None


class MarginalModel:
    r"""The density of one data set with its indicators summed out.

    As a function of one vector :math:`u` (D,),

    .. math::

        \log p(\theta, y)
        = \log p(\theta) + \log \sum_z p(z \mid \theta)\, p(y \mid z, \theta)
        \quad\text{at}\quad \theta = m + L u,

    where :math:`\theta` are the unconstrained parameters of the model, in its order. Data, and
    also :math:`m` and :math:`L`, are shared variables, so that what has been compiled once serves
    every data set of as many units, or of any number of units if it is framed.

    Parameters
    ----------
    density : BatchedDensity
        The density of the model.
    shapes : sequence of tuple of int
        Of its unconstrained parameters.
    framed : bool
        Whether data have an axis of frames: any number of them, where there is otherwise one.
    guarded : bool
        Whether some component may give some value probability zero, so that its derivative must be
        kept from being NaN there. Changes nothing else, and takes longer.

    Attributes
    ----------
    model : pymc.Model
        Of one free variable ``u``, flat, and a potential.
    log_density : Variable
        Of ``point``.
    point : Variable
        Unconstrained parameters (D,).

    Raises
    ------
    UnsupportedModelError
        If there are no parameters.
    """

    def __init__(
        self,
        density: BatchedDensity,
        shapes: Sequence[tuple[int, ...]],
        *,
        framed: bool,
        guarded: bool = False,
    ) -> None:
        self._parts = density.symbolic()
        self._shapes = tuple(shapes)
        self._framed = framed
        self._guarded = guarded
        _require_parameters(self._parts)
        self._has_times = framed and any(d.order for d in self._parts.distributions.values())
        self.size = sum(math.prod(shape) for shape in self._shapes)
        self._stand_ins = self._data_variables()
        self.data = self._share_variables()
        self.point = pt.vector("point", shape=(self.size,))
        self.log_density = self._log_density(self.point)
        self.model = self._model()

    def arrays(
        self, data: FramedData, location: np.ndarray, scale_tril: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the values of the shared variables for a data set, by name.

        Parameters
        ----------
        data : FramedData
            The data set.
        location, scale_tril : numpy.ndarray, shape (D,) and (D, D)
            Where the model's vector has its origin, and its axes.
        """
        num_frames = len(next(iter(data.used.values())))
        values = {"location": location, "scale_tril": scale_tril, "times": data.times}
        for name, likelihood in self._parts.likelihoods.items():
            values[f"value:{name}"], values[f"used:{name}"] = likelihood.values(
                data.observations[name], data.used[name]
            )
        for covariate in self._parts.covariates:
            own = np.broadcast_to(covariate.values, (num_frames, *covariate.values.shape))
            values[f"value:{covariate.name}"] = data.covariates.get(covariate.name, own)
        return {
            variable.name: np.array(
                values[key]
                if self._framed or key in ("location", "scale_tril")
                else values[key][0],
                dtype=variable.type.dtype,
            )
            for key, variable in self.data.items()
        }

    def set_data(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Give the shared variables their values."""
        for variable in self.data.values():
            variable.set_value(arrays[variable.name])

    def _data_variables(self) -> dict[str, Variable]:
        """Return the data of one frame: values of everything, and which entries are in use."""
        variables = {}
        for name, likelihood in self._parts.likelihoods.items():
            dtype, shape, entries = likelihood.value_types
            variables[f"value:{name}"] = pt.tensor(dtype=dtype, shape=shape)
            variables[f"used:{name}"] = pt.tensor(dtype="bool", shape=entries)
        for covariate in self._parts.covariates:
            dtype, shape = covariate.variable.type.dtype, covariate.values.shape
            variables[f"value:{covariate.name}"] = pt.tensor(dtype=dtype, shape=shape)
        return variables

    def _share_variables(self) -> dict[str, SharedVariable]:
        shapes = {"location": (self.size,), "scale_tril": (self.size, self.size)}
        types = {key: ("float64", shape) for key, shape in shapes.items()}
        if self._has_times:
            types["times"] = ("int64", (None,))
        for key, variable in self._stand_ins.items():
            frames = (None,) if self._framed else ()
            types[key] = (variable.type.dtype, (*frames, *variable.type.shape))
        return {
            key: pytensor.shared(
                np.zeros([n or 1 for n in shape], dtype), name=f"data_{i}", shape=shape
            )
            for i, (key, (dtype, shape)) in enumerate(types.items())
        }

    def _model(self) -> pm.Model:
        with pm.Model(model=None) as model:
            u = pm.Flat("u", shape=self.size)
            # Not as a product of matrices, which Numba takes 20 seconds to compile.
            point = self.data["location"] + (self.data["scale_tril"] * u).sum(axis=1)
            pm.Potential("log_density", self._log_density(point))
        return model

    def _log_density(self, point: Variable) -> Variable:
        """Return the log density (in nats) as a graph, -inf where it is NaN."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        unconstrained = [
            point[end - math.prod(shape) : end].reshape(shape)
            for shape, end in zip(self._shapes, ends, strict=True)
        ]
        known = dict(zip(self._parts.prior.inputs, unconstrained, strict=True))
        prior = graph_replace(list(self._parts.prior.outputs), known, strict=False)
        log_prior, *constrained = prior
        parameters = dict(zip(self._parts.names, constrained, strict=True))
        joint, rest = self._tables(parameters)
        data = {stand_in: self.data[key] for key, stand_in in self._stand_ins.items()}
        names, tables = list(joint), [*joint.values(), *rest]
        tables = (
            vectorize_graph(tables, data)
            if self._framed
            else graph_replace(tables, data, strict=False)
        )
        total = log_prior + sum(table.sum() for table in tables[len(names) :])
        for name, table in zip(names, tables, strict=False):
            total += self._sum_out(name, table, list(parameters.values()))
        # Before derivatives are taken, or those of sums of exponentials are 0 / 0.
        stable = rewrite_graph(total, include=("canonicalize", "stabilize"))
        return pt.switch(pt.isnan(stable), -np.inf, stable)

    def _sum_out(self, name: str, table: Variable, parameters: Sequence[Variable]) -> Variable:
        """Sum an indicator out of its table ([m,] *units, K)."""
        distribution = self._parts.distributions[name]
        if self._has_times:
            table = table.reshape((-1, len(distribution.support)))[self.data["times"]]
        return distribution.symbolic_sum_out(parameters, table)

    def _tables(
        self, parameters: Mapping[str, Variable]
    ) -> tuple[dict[str, Variable], list[Variable]]:
        """Return the table of each indicator, and the terms without one, of a frame.

        Of independent indicators log p(y_i, z_i = k), of chains log p(y_t given z_t = k).
        """
        values = {
            key.removeprefix("value:"): variable
            for key, variable in self._stand_ins.items()
            if key.startswith("value:")
        }
        joint = {
            name: distribution.symbolic_prior(list(parameters.values()), values)
            for name, distribution in self._parts.distributions.items()
        }
        rest = []
        for name, likelihood in self._parts.likelihoods.items():
            guarded = self._guarded and likelihood.distribution is not None
            table = (
                _guard_table(likelihood, parameters, values)
                if guarded
                else likelihood.symbolic_table(parameters, values)
            )
            used = pt.expand_dims(self._stand_ins[f"used:{name}"], -1)
            table = pt.switch(used, table, 0.0)
            indicator = likelihood.unit_map.indicator
            if indicator is not None:
                joint[indicator] = joint[indicator] + _add_up_units(likelihood, table)
            rest += _terms_of_no_unit(likelihood, table)
        return joint, rest


def _require_parameters(parts: SymbolicDensity) -> None:
    if not parts.names:
        raise UnsupportedModelError(
            "Expected a model with continuous parameters; got one without. There is nothing to "
            "draw but indicators, whose distribution is known exactly:\n\n"
            "    pma.sample(model=model)"
        )


def _guard_table(
    likelihood: Likelihood, parameters: Mapping[str, Variable], values: Mapping[str, Variable]
) -> Variable:
    """Return the table (*entries, K) of a likelihood, with finite derivatives where it is -inf.

    There a component has the likeliest of the other values in the place of its own: a derivative
    of what is not selected is multiplied by 0, which makes NaN of an infinite one.
    """
    value, entries = values[likelihood.name], likelihood.unit_map.owner.shape
    fixed = {name: _stop_derivative(parameter) for name, parameter in parameters.items()}
    table = likelihood.symbolic_table(fixed, values)
    columns = []
    for k in range(len(likelihood.distribution.support)):
        impossible = pt.eq(table[..., k], -np.inf)
        likeliest = table[..., k].ravel().argmax()
        possible = value.reshape((math.prod(entries), *value.type.shape[len(entries) :]))[likeliest]
        spread = pt.shape_padright(impossible, value.ndim - len(entries))
        safe = {**values, likelihood.name: pt.switch(spread, possible, value)}
        column = likelihood.symbolic_column(parameters, safe, k)
        columns.append(pt.switch(impossible, -np.inf, column))
    return pt.stack(columns, axis=-1)


def _stop_derivative(x: Variable) -> Variable:
    """Return a variable as a constant would be: PyTensor's own way is lost when it simplifies."""

    def zeros(inputs: Sequence[Variable], *_: object) -> list[Variable]:
        return [stand_in.zeros_like() for stand_in in inputs]

    inner = x.type()
    return OpFromGraph([inner], [inner.copy()], lop_overrides=zeros)(x)


def _add_up_units(likelihood: Likelihood, table: Variable) -> Variable:
    """Add up the entries of each unit: (*entries, K) to (*units, K)."""
    owner, units = likelihood.unit_map.owner.ravel(), likelihood.distribution.units
    if likelihood.unit_map.is_identity and likelihood.unit_map.owner.shape == units:
        return table
    num_components = len(likelihood.distribution.support)
    flat = table.reshape((owner.size, num_components))[owner >= 0]
    totals = pt.zeros((math.prod(units), num_components))
    totals = pt.inc_subtensor(totals[owner[owner >= 0]], flat)
    return totals.reshape((*units, num_components))


def _terms_of_no_unit(likelihood: Likelihood, table: Variable) -> list[Variable]:
    """Return the entries that depend on no unit, which are the same for all components."""
    free = np.flatnonzero(likelihood.unit_map.owner < 0)
    entries = table[..., 0].ravel()
    if free.size == likelihood.unit_map.owner.size:
        return [entries]
    return [entries[free]] if free.size else []
