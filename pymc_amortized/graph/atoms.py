"""Values that one component of a mixture takes with positive probability, and others by a density.

A continuous component takes a given value with probability zero. So where another has an atom, a
value that is just there comes from that one, as it does in simulations. PyMC's own density of a
mixture adds the probability of the one to the density of the other, which may be infinite.
"""

from collections.abc import Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc.distributions.censored import CensoredRV
from pymc.distributions.mixture import _BaseMixtureRV
from pymc.distributions.truncated import TruncatedRV
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.graph.rules.selected_component import SelectedComponentRV, selected_parts

__all__ = ["component_log_densities", "log_density"]

_COUNTS = tuple(
    law.rv_type for law in (pm.Poisson, pm.NegativeBinomial, pm.Binomial, pm.BetaBinomial)
)
_MOST_TERMS = 1_000
_NUM_ABOVE = 50
_RARE = 1e-8


def log_density(variable: Variable, value: Variable) -> Variable:
    """Return the log density of a random variable, as PyMC has it but for atoms in mixtures.

    Parameters
    ----------
    variable : Variable
        The random variable.
    value : Variable
        Where to evaluate.

    Returns
    -------
    Variable
        In nats, one entry per draw.
    """
    return _density_and_atoms(variable, value)[0]


def component_log_densities(components: Sequence[Variable], value: Variable) -> list[Variable]:
    """Return the log density of each component of a mixture, with values at atoms left to these.

    Parameters
    ----------
    components : sequence of Variable
        One variable (*units, *event) per component, or a single one (*units, components, *event).
    value : Variable
        Where to evaluate (*units, *event).

    Returns
    -------
    list of Variable
        In nats, (*units), or (*units, components) of a single variable.
    """
    return _settle(components, value)[0]


def _settle(
    components: Sequence[Variable], value: Variable
) -> tuple[list[Variable], Variable | None]:
    """Return log densities of components, and where one of them has an atom; None: nowhere."""
    single = len(components) == 1
    if single:
        value = pt.expand_dims(value, -components[0].owner.op.ndim_supp - 1)
    pairs = [_density_and_atoms(component, value) for component in components]
    densities, atoms = (list(x) for x in zip(*pairs, strict=True))
    if all(atom is None for atom in atoms):
        return densities, None
    atoms = [pt.zeros_like(d, dtype="bool") if a is None else a for d, a in pairs]
    if single:
        [atom], [density] = atoms, densities
        anywhere = atom.any(axis=-1)
        settled = [pt.switch(anywhere[..., None] & ~atom, -np.inf, density)]
        return settled, anywhere
    anywhere = atoms[0]
    for atom in atoms[1:]:
        anywhere = anywhere | atom
    settled = [pt.switch(anywhere & ~a, -np.inf, d) for a, d in zip(atoms, densities, strict=True)]
    return settled, anywhere


def _density_and_atoms(variable: Variable, value: Variable) -> tuple[Variable, Variable | None]:
    """Return the log density, and where it is the logarithm of a probability; None: nowhere."""
    op, inputs = variable.owner.op, variable.owner.inputs
    if isinstance(op, _BaseMixtureRV):
        _, weights, *components = inputs
        densities, anywhere = _settle(components, value)
        if anywhere is not None:
            table = densities[0] if len(densities) == 1 else pt.stack(densities, axis=-1)
            return pt.logsumexp(pt.log(weights) + table, axis=-1), anywhere
    if isinstance(op, SelectedComponentRV):
        indicator, components = selected_parts(variable)
        densities, anywhere = _settle(components, value)
        table = densities[0] if len(densities) == 1 else pt.stack(densities, axis=-1)
        index = pt.shape_padright(pt.cast(indicator, "int64"))
        return pt.take_along_axis(table, index, axis=-1).squeeze(-1), anywhere
    if variable.dtype.startswith(("int", "uint", "bool")):
        if isinstance(op, TruncatedRV):
            return _density_of_truncated_count(variable, value), None
        return pm.logp(variable, value, warn_rvs=False), None
    density = pm.logp(variable, value, warn_rvs=False)
    if isinstance(op, pm.DiracDelta.rv_type):
        return density, pt.gt(density, -np.inf)
    if isinstance(op, CensoredRV):
        _, lower, upper = inputs
        at_bound = pt.eq(value, lower) | pt.eq(value, upper)
        return density, at_bound & pt.gt(density, -np.inf)
    if isinstance(op, pm.Gamma.rv_type):
        # Where PyMC has -inf for a density that grows without bound.
        _, _, shape, _ = inputs
        return pt.switch(pt.eq(value, 0) & pt.lt(shape, 1), np.inf, density), None
    return density, None


def _density_of_truncated_count(variable: Variable, value: Variable) -> Variable:
    density = _density_by_sums(variable, value)
    if density is None:
        density = pm.logp(variable, value, warn_rvs=False)
    return _no_more_than_beside_bounds(variable, value, density)


def _no_more_than_beside_bounds(variable: Variable, value: Variable, density: Variable) -> Variable:
    """Bound the log probability of a truncated discrete value by its ratio to those of the bounds.

    The mass between the bounds is at least that of each. What PyMC computes of it underflows where
    hardly any is left, of a Poisson variable above 0 whose rate is 1e-20, say.
    """
    op = variable.owner.op
    if not isinstance(op.base_rv_op, RandomVariable):
        return density
    *parameters, lower, upper = variable.owner.inputs[2:]
    base = op.base_rv_op(*parameters)
    for bound in (lower, upper):
        if not (isinstance(bound, Constant) and not np.isfinite(bound.data).any()):
            whole = pt.cast(bound, variable.dtype)
            ratio = pm.logp(base, value, warn_rvs=False) - pm.logp(base, whole, warn_rvs=False)
            inside = pt.ge(value, lower) & pt.le(value, upper) & pt.ge(ratio, -np.inf)
            density = pt.switch(inside, pt.minimum(density, ratio), density)
    return density


def _density_by_sums(variable: Variable, value: Variable) -> Variable | None:
    """Return the log probability of a truncated count; None where bounds vary or are far.

    Distribution functions lose what is far from the median, and those of most counts torch lacks.
    So probabilities are summed, of counts between the bounds, or below the only one.
    """
    base_op = variable.owner.op.base_rv_op
    *parameters, lower, upper = variable.owner.inputs[2:]
    bounds = [x.data for x in (lower, upper) if isinstance(x, Constant) and x.type.ndim == 0]
    if not isinstance(base_op, _COUNTS) or len(bounds) < 2:
        return None
    low, high = max(np.ceil(bounds[0]), 0), np.floor(bounds[1])
    first, end = (low, high + 1) if np.isfinite(high) else (0, low)
    if not 0 < end - first <= _MOST_TERMS:
        return None
    log_mass = _log_sum(base_op, parameters, int(first), int(end))
    if not np.isfinite(high):
        log_below, log_mass = log_mass, pm.math.log1mexp(pt.minimum(log_mass, 0))
        if low > 1:  # a sum that rounds to 1 says nothing of the rest
            next_to = _log_sum(base_op, parameters, int(low), int(low) + _NUM_ABOVE)
            log_mass = pt.switch(pt.gt(log_below, -_RARE), next_to, log_mass)
    density = pm.logp(base_op(*parameters), value, warn_rvs=False) - log_mass
    return pt.switch(pt.ge(value, low) & pt.le(value, high), density, -np.inf)


def _log_sum(
    base_op: RandomVariable, parameters: Sequence[Variable], first: int, end: int
) -> Variable:
    """Return the log probability of the counts from first to end, which is not among them."""
    spread = base_op(*(pt.shape_padright(x) for x in parameters))
    log_each = pm.logp(spread, pt.arange(first, end), warn_rvs=False)
    peak = log_each.max(axis=-1, keepdims=True)
    return pt.log(pt.exp(log_each - peak).sum(axis=-1)) + peak[..., 0]
