"""The reading of a model, described for people: from what was found to ``ModelSpec``."""

from collections.abc import Mapping, Sequence

from pytensor.graph.traversal import ancestors
from torch import Tensor

from pymc_amortized.model.complete_model import (
    CompleteModel,
    Indicator,
    Member,
    Observation,
    Parameter,
)
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.reading.covariates import Covariate
from pymc_amortized.model.reading.response import Responses
from pymc_amortized.model.reading.unit_map import UnitMap
from pymc_amortized.model.restricted_prior import RestrictedPrior
from pymc_amortized.model.spec import (
    CovariateSpec,
    DeterministicSpec,
    IndicatorSpec,
    ModelSpec,
    ObservationSpec,
    ParameterSpec,
)

__all__ = ["describe"]

_SUPPORTS = {
    "log": "positive",
    "log_exp_m1": "positive",
    "logodds": "unit interval",
    "interval": "interval",
    "simplex": "simplex",
    "sumto1": "simplex",
    "ordered": "ordered",
    "circular": "circle",
    "zerosum": "sums to zero",
    "cholesky-cov-packed": "Cholesky factor",
    "cholesky_corr": "Cholesky factor",
    "chain": "chained",
}


def describe(
    responses: Responses,
    prior: RestrictedPrior,
    distributions: Mapping[str, AbstractIndicatorDistribution],
    unit_maps: Mapping[str, UnitMap],
    covariates: Sequence[Covariate],
    exchangeable: Mapping[str, bool],
) -> ModelSpec:
    """Say what was read.

    Parameters
    ----------
    responses : Responses
        Those of the model's observed variables.
    prior : RestrictedPrior
        Of its parameters.
    distributions : mapping of str to AbstractIndicatorDistribution
        p(z given θ), by indicator.
    unit_maps : mapping of str to UnitMap
        Which unit each value belongs to, by observed variable.
    covariates : sequence of Covariate
        What the model conditions on.
    exchangeable : dict of str to bool
        For each observed variable, whether its units can be permuted.
    """
    complete, draws = responses.complete, responses.draws
    missing = {o.name: responses.of(o).missing_density for o in complete.observations}
    unconstrained = prior.bijections.forward(draws)
    along_units = [c.variable for c in covariates if c.unit_axes]
    observed = [observation.variable for observation in complete.observations]
    indicators = {indicator.variable for indicator in complete.named_indicators}
    return ModelSpec(
        parameters=tuple(
            _parameter_spec(complete, parameter, draws, unconstrained[parameter.name])
            for parameter in complete.parameters
        ),
        indicators=tuple(
            _indicator_spec(indicator, distributions[indicator.name])
            for indicator in complete.indicators
        ),
        observations=tuple(
            _observation_spec(
                observation,
                unit_maps[observation.name],
                exchangeable[observation.name],
                missing.get(observation.name),
                tuple(other.name for other in complete.observations_behind(observation)),
            )
            for observation in complete.observations
        ),
        covariates=tuple(_covariate_spec(covariate) for covariate in covariates),
        deterministics=tuple(
            DeterministicSpec(
                name,
                not indicators.isdisjoint(ancestors([variable], blockers=observed)),
                not set(ancestors([variable])).isdisjoint({*observed, *along_units}),
            )
            for name, variable in complete.deterministics.items()
        ),
        potentials=tuple(complete.potentials),
        structure="set" if all(d.is_independent for d in distributions.values()) else "sequence",
    )


def _indicator_spec(
    indicator: Indicator, distribution: AbstractIndicatorDistribution
) -> IndicatorSpec:
    return IndicatorSpec(
        name=indicator.name,
        support=distribution.support,
        units=distribution.units,
        kind=distribution.kind,
        order=distribution.order,
        time_varying=distribution.time_varying,
        origin=indicator.origin,
        dims=indicator.dims,
        density=distribution.reason,
        value_dim=indicator.value_dim,
        members=tuple(_member_spec(member) for member in indicator.members),
    )


def _member_spec(member: Member) -> IndicatorSpec:
    indicator = member.indicator
    return IndicatorSpec(
        name=indicator.name,
        support=member.digits.support,
        units=member.digits.units,
        kind="markov" if indicator.order else "independent",
        order=indicator.order,
        time_varying=False,
        origin=indicator.origin,
        dims=indicator.dims,
        value_dim=indicator.value_dim,
        digits=member.digits,
    )


def _parameter_spec(
    complete: CompleteModel,
    parameter: Parameter,
    draws: Mapping[str, Tensor],
    unconstrained: Tensor,
) -> ParameterSpec:
    op = parameter.variable.owner.op
    transform = None if parameter.transform is None else parameter.transform.name
    dims = complete.model.named_vars_to_dims.get(parameter.name)
    return ParameterSpec(
        name=parameter.name,
        shape=tuple(draws[parameter.name].shape[1:]),
        unconstrained_shape=tuple(unconstrained.shape[1:]),
        dims=None if dims is None else tuple(dims),
        distribution=getattr(op, "_print_name", (type(op).__name__,))[0],
        transform=transform,
        support="real" if transform is None else _SUPPORTS.get(transform, transform),
    )


def _observation_spec(
    observation: Observation,
    units: UnitMap,
    exchangeable: bool,
    reason: str | None,
    depends_on: tuple[str, ...],
) -> ObservationSpec:
    return ObservationSpec(
        name=observation.name,
        shape=observation.data.shape,
        event_shape=_event_shape(observation, units),
        dtype=str(observation.data.dtype),
        indicator=units.indicator,
        owner=units.owner,
        observed=observation.observed,
        exchangeable=exchangeable,
        density=reason,
        dims=observation.dims,
        depends_on=depends_on,
    )


def _event_shape(observation: Observation, units: UnitMap) -> tuple[int, ...]:
    """Return the trailing axes along which the unit does not change."""
    owner = units.owner
    event_ndim = observation.data.ndim - owner.ndim if not observation.split else 0
    if units.indicator is not None and not observation.split:
        while owner.ndim > 1 and bool((owner == owner[..., :1]).all()):
            owner = owner[..., 0]
            event_ndim += 1
    return observation.data.shape[observation.data.ndim - event_ndim :]


def _covariate_spec(covariate: Covariate) -> CovariateSpec:
    return CovariateSpec(
        covariate.name,
        covariate.values.shape,
        covariate.origin,
        {axis.observation: axis.covariate_axis for axis in covariate.unit_axes},
        covariate.local,
        covariate.in_prior,
        covariate.counted,
    )
