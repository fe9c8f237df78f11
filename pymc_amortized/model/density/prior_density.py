"""The batched density of a model's parameters, as it is before any data."""

from functools import cached_property

import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import conditioned_on, density_graph, elementwise_logp
from pymc_amortized.model.bijections import apply_transform
from pymc_amortized.model.complete_model import CompleteModel
from pymc_amortized.typing import NamedTensors

__all__ = ["PriorDensity"]


class PriorDensity:
    """The density of the parameters of a model, for S draws of them at once.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.

    Raises
    ------
    DensityUnavailableError
        If some prior has no density.
    """

    def __init__(self, complete: CompleteModel) -> None:
        self._complete = complete
        self._names = [parameter.name for parameter in complete.parameters]
        try:
            self._graph = _prior_graph(complete)
        except DensityUnavailableError as error:
            raise DensityUnavailableError(
                f"Expected priors with a density that torch can compute; {error}. Give the "
                "parameter a distribution whose density it can, such as\n\n"
                '    pm.Normal("x", mean, sd)'
            ) from error

    def log_prior(self, unconstrained: NamedTensors) -> Tensor:
        """Log prior density in the unconstrained space, Jacobian included.

        Parameters
        ----------
        unconstrained : mapping of str to Tensor, shape (S, *unconstrained shape)
            Unconstrained parameters by name.

        Returns
        -------
        Tensor, shape (S,)
            In nats; -inf where a potential forbids the parameters. Not normalized over the region
            that transforms such as ``ordered`` leave, exactly as in PyMC.
        """
        values = [unconstrained[name].double() for name in self._names]
        num_draws = values[0].shape[0] if values else 1
        result = self._graph(values)[0]
        if not isinstance(result, Tensor):
            return torch.full((num_draws,), float(result), dtype=torch.float64)
        return result.expand(num_draws)

    def log_terms(self, parameters: NamedTensors) -> dict[str, Tensor]:
        """Log prior density of each parameter as PyMC reports it: without Jacobian.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.

        Returns
        -------
        dict of str to Tensor, shape (S, *batch)
            In nats, by name; one value for each draw of a multivariate prior.
        """
        values = [parameters[name].double() for name in self._names]
        num_draws = values[0].shape[0] if values else 1
        terms = self._terms(values)
        tensors = [x if isinstance(x, Tensor) else torch.as_tensor(x).unsqueeze(0) for x in terms]
        return {
            name: x.expand(num_draws, *x.shape[1:])
            for name, x in zip(self._names, tensors, strict=True)
        }

    def symbolic(self) -> BatchedGraph:
        """Return the graph from unconstrained parameters to log density, and to parameters."""
        return _prior_graph(self._complete, with_parameters=True)

    @cached_property
    def _terms(self) -> BatchedGraph:
        return _prior_terms_graph(self._complete)


def _prior_graph(complete: CompleteModel, *, with_parameters: bool = False) -> BatchedGraph:
    """Return the log prior density in the unconstrained space, with its Jacobian.

    Constrained parameters follow, if they are asked for.

    Built parameter by parameter, for PyMC derives the density of a whole model or nothing.
    """
    values = [
        complete.model.rvs_to_values[complete.model[p.name]].type(name=p.name)
        for p in complete.parameters
    ]
    constrained: dict[Variable, Variable] = {}
    terms = []
    for parameter, value in zip(complete.parameters, values, strict=True):
        point = apply_transform(parameter, "backward", value, constrained)
        if parameter.transform is not None:
            terms.append(apply_transform(parameter, "log_jac_det", value, constrained).sum())
        terms.append(elementwise_logp(parameter.variable, point, constrained).sum())
        constrained[parameter.variable] = point
    for potential in complete.potentials.values():
        terms += [p.sum() for p in conditioned_on(constrained, [potential], lambda *p: p)]
    total = sum(terms, start=pt.constant(0.0))
    return density_graph(values, [total, *constrained.values()] if with_parameters else [total])


def _prior_terms_graph(complete: CompleteModel) -> BatchedGraph:
    """Return the log prior density of each parameter at constrained values."""
    values = [parameter.variable.type(name=parameter.name) for parameter in complete.parameters]
    given = dict(zip(complete.parameter_variables, values, strict=True))
    terms = []
    for position, (parameter, value) in enumerate(zip(complete.parameters, values, strict=True)):
        before = {v: given[v] for v in complete.parameter_variables[:position]}
        terms.append(elementwise_logp(parameter.variable, value, before))
    return density_graph(values, terms)
