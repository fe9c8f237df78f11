"""The complete-data model: the user's model with every indicator explicit.

Simulation and density both start from here. Marginal mixtures get the indicator that they hide,
models that pymc-extras has marginalized get back the one that they lost, and masked observations
become whole again.
"""

import numpy as np
import pymc as pm

from pymc.distributions.distribution import SymbolicRandomVariable
from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.compat import (
    inline,
    is_marginal,
    marginalized_dims,
    marginalized_name,
)
from pymc_amortized.errors import ModelReadingError, UnsupportedModelError
from pymc_amortized.graph.rules.selected_component import select_component
from pymc_amortized.messages import door_with_model
from pymc_amortized.model.complete_model import (
    CompleteModel,
    Indicator,
    Observation,
    Parameter,
    current_value,
    without_casts,
)
from pymc_amortized.model.reading.masks import Masked, read_masked
from pymc_amortized.model.reading.mixture_parts import (
    categorical_weights,
    mixture_indicator,
    mixture_parts,
    value_dim,
)
from pymc_amortized.model.reading.xtensors import without_xtensors

__all__ = ["complete_model"]


def complete_model(model: pm.Model | None = None) -> CompleteModel:
    """Read a model, and make its indicators explicit.

    Parameters
    ----------
    model : pymc.Model, optional
        Default: the model of the surrounding ``with`` block.

    Raises
    ------
    ModelReadingError
        If the object is not a model, observes nothing, or observes what is not numeric.
    UnsupportedModelError
        If a variable is of a kind that cannot be read.
    """
    model = without_xtensors(_check_model(model))
    reading = _Reading(model)
    for variable in model.basic_RVs:
        _require_distribution(variable)
    for variable in model.observed_RVs:
        reading.observe(variable)
    for variable in model.free_RVs:
        reading.free(variable)
    return reading.result()


def _check_model(model: pm.Model | None) -> pm.Model:
    if model is None:
        try:
            model = pm.modelcontext(None)
        except TypeError as error:
            raise ModelReadingError(
                "Expected a model, or a surrounding `with model:` block; got neither. Pass it:\n\n"
                f"    {door_with_model()}"
            ) from error
    if not isinstance(model, pm.Model):
        raise ModelReadingError(
            f"Expected a pymc.Model; got {type(model).__name__}. Build one first:\n\n"
            "    with pm.Model() as model:\n        ..."
        )
    if not model.observed_RVs:
        raise ModelReadingError(
            "Expected a model with at least one observed variable; got one with none. Without "
            "observations there is nothing to amortize over; a likelihood in a pm.Potential hides "
            "them. Observe a variable:\n\n"
            '    pm.NormalMixture("y", w, mu, sigma, observed=data)'
        )
    return model


def _require_distribution(variable: Variable) -> None:
    op = variable.owner.op
    if not (isinstance(op, RandomVariable | SymbolicRandomVariable) or is_marginal(op)):
        raise UnsupportedModelError(
            f"Expected {variable.name!r} to be drawn from a distribution; got a "
            f"{type(op).__name__}, which re-weights the likelihood or is otherwise not one. "
            "Simulations are of whole data sets. Leave out `total_size`:\n\n"
            f'    pm.Normal("{variable.name}", mu, sigma, observed=data)'
        )


class _Reading:
    """Collects what is read of a model, one variable at a time."""

    def __init__(self, model: pm.Model) -> None:
        self.model = model
        self.parameters: list[Parameter] = []
        self.indicators: list[Indicator] = []
        self.observations: list[Observation] = []
        self.replacements: dict[Variable, Variable] = {}
        self.joined: set[str] = set()
        self.missing: set[str] = set()

    def observe(self, variable: Variable) -> None:
        value = self.model.rvs_to_values[variable]
        data = current_value(value)
        if data.dtype.kind not in "biuf":
            raise ModelReadingError(
                f"Expected numeric observations; got {data.dtype} for {variable.name!r}. Convert "
                "them, for instance to integer codes:\n\n    codes, labels = pandas.factorize(y)"
            )
        if is_marginal(variable.owner.op):
            self._observe_marginal(variable, data)
        elif (name := self._name_behind_mask(variable)) is not None:
            self._observe_masked(name, variable, data)
        else:
            self._add_observation(variable.name, variable, data, dims_of=variable.name)

    def free(self, variable: Variable) -> None:
        if variable.name in self.missing:
            return
        if variable.dtype.startswith("float"):
            transform = self.model.rvs_to_transforms[variable]
            self.parameters.append(Parameter(variable.name, variable, transform))
            return
        self._add_indicator(variable.name, variable, "explicit", self._dims(variable.name))

    def result(self) -> CompleteModel:
        model = self.model
        observed = {without_casts(value) for value in model.rvs_to_values.values()}
        complete = CompleteModel(
            model=model,
            parameters=tuple(self.parameters),
            indicators=tuple(self.indicators),
            observations=tuple(self.observations),
            deterministics={v.name: v for v in model.deterministics if v.name not in self.joined},
            potentials={v.name: v for v in model.potentials},
            data={v.name: v for v in model.data_vars if v not in observed},
        )
        return complete.replaced(self.replacements)

    def _add_indicator(
        self, name: str, variable: Variable, origin: str, dims: tuple[str | None, ...] | None
    ) -> None:
        weights = categorical_weights(variable)
        counted_by = value_dim(self.model, weights)
        order = _chain_order(variable)
        self.indicators.append(Indicator(name, variable, origin, order, dims, counted_by))

    def _add_observation(
        self,
        name: str,
        variable: Variable,
        data: np.ndarray,
        *,
        dims_of: str,
        density_variable: Variable | None = None,
        observed: np.ndarray | None = None,
        split: bool = False,
    ) -> None:
        """Add an observed variable, and the indicator that it hides if it is a mixture."""
        density_variable = variable if density_variable is None else density_variable
        components = weights = indicator_name = None
        dims = self._dims(dims_of)
        if (mixture := mixture_parts(density_variable)) is not None:
            weights, *components = mixture
            indicator_name = self._free_name(f"{name}_component")
            ndim_supp = density_variable.owner.op.ndim_supp
            unit_ndim = density_variable.type.ndim - ndim_supp
            units = data.shape[:unit_ndim]
            unit_dims = None if dims is None else dims[:unit_ndim]
            indicator = mixture_indicator(weights, units, indicator_name)
            self._add_indicator(indicator_name, indicator, "mixture", unit_dims)
            if len(components) > 1:
                components = [
                    self._unfold(component, f"{indicator_name}_{k}", units, unit_dims)
                    for k, component in enumerate(components)
                ]
            selected = select_component(indicator, components)
            selected.name = name
            self.replacements[density_variable] = selected
            variable = selected
        self.observations.append(
            Observation(
                name=name,
                variable=variable,
                density_variable=density_variable,
                components=None if components is None else tuple(components),
                weights=weights,
                mixture_indicator=indicator_name,
                data=data,
                observed=observed,
                split=split,
                dims=dims,
            )
        )

    def _unfold(
        self,
        component: Variable,
        name: str,
        units: tuple[int, ...],
        dims: tuple[str | None, ...] | None,
    ) -> Variable:
        """Return a component; with an indicator of its own, if it is a mixture itself.

        Zero-inflated and hurdle components stay the distributions that they are to their users.
        """
        if (mixture := mixture_parts(component)) is None:
            return component
        weights, *components = mixture
        if any(isinstance(inner.owner.op, pm.DiracDelta.rv_type) for inner in components):
            return component
        indicator = mixture_indicator(weights, units, self._free_name(name))
        self._add_indicator(indicator.name, indicator, "mixture", dims)
        if len(components) > 1:
            components = [
                self._unfold(inner, f"{indicator.name}_{k}", units, dims)
                for k, inner in enumerate(components)
            ]
        return select_component(indicator, components)

    def _observe_marginal(self, variable: Variable, data: np.ndarray) -> None:
        """Take the model out of what ``pymc_extras.marginalize`` has wrapped it in."""
        node = variable.owner
        if node.outputs[0] not in self.replacements:
            inner = inline(node.op, node.inputs)
            hidden = inner[0]
            if hidden.dtype.startswith("float"):
                raise UnsupportedModelError(
                    "Expected pymc-extras to have marginalized a discrete variable; got a "
                    f"continuous one in {variable.name!r}. Pass the model as it was before "
                    "`marginalize`:\n\n    pma.sample(model=model)"
                )
            name = marginalized_name(node) or f"{variable.name}_indicator"
            self._add_indicator(name, hidden, "marginalized", marginalized_dims(node))
            self.replacements.update(zip(node.outputs, inner, strict=True))
        drawn = self.replacements[variable]
        self._add_observation(variable.name, drawn, data, dims_of=variable.name)

    def _name_behind_mask(self, variable: Variable) -> str | None:
        """Return the name of the whole variable if this is the observed part of it."""
        name = variable.name.removesuffix("_observed")
        whole = (name, f"{name}_unobserved")
        if name == variable.name or not all(other in self.model.named_vars for other in whole):
            return None
        return name

    def _observe_masked(self, name: str, variable: Variable, values: np.ndarray) -> None:
        masked = read_masked(name, self.model[name], variable, values)
        self.joined.add(name)
        self.missing.add(f"{name}_unobserved")
        if values.dtype.kind != "f" and self._is_used(masked.joined):
            self._observe_labels(masked)
            return
        self._add_observation(
            name,
            masked.variable,
            masked.data,
            dims_of=name,
            density_variable=variable if masked.is_split else masked.variable,
            observed=masked.observed,
            split=masked.is_split,
        )

    def _is_used(self, joined: Variable) -> bool:
        """Tell whether other variables depend on one that is observed in part."""
        own = {f"{joined.name}_observed", f"{joined.name}_unobserved"}
        others = [v for v in self.model.basic_RVs if v.name not in own]
        return joined in ancestors(others)

    def _observe_labels(self, masked: Masked) -> None:
        """Take labels that are known of some units for an indicator, and an observation of it."""
        whole = masked.whole(self.model[f"{masked.name}_unobserved"])
        self._add_indicator(masked.name, whole, "explicit", self._dims(masked.name))
        self.replacements[masked.joined] = whole
        self._add_observation(
            f"{masked.name}_observed",
            pm.DiracDelta.dist(whole),
            masked.data,
            dims_of=masked.name,
            observed=masked.entries,
        )

    def _free_name(self, name: str) -> str:
        """Return a name that no variable of the model has: with underscores added if need be."""
        while name in self.model.named_vars:
            name += "_"
        return name

    def _dims(self, name: str) -> tuple[str | None, ...] | None:
        dims = self.model.named_vars_to_dims.get(name)
        return None if dims is None else tuple(dims)


def _chain_order(variable: Variable) -> int:
    op = variable.owner.op
    return op.n_lags if isinstance(op, DiscreteMarkovChainRV) else 0
