"""By which parameter exchangeable components are ordered: asked for, or the one that tells most."""

import math

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.memory import MEMORY
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.rng import RandomSeed
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, possible_orders
from pymc_amortized.symmetry.exchangeable import Exchangeable
from pymc_amortized.typing import NamedTensors

__all__ = ["OrderBy", "choose_orders"]

OrderBy = str | Sequence[str] | None
"""Names of parameters by which components are ordered: one for each set that is exchangeable."""

_NUM_PARAMETERS = 64
_NUM_DATASETS = 8
_NUM_SIMULATIONS = 256


class _SimulatedData(Protocol):
    parameters: dict[str, Tensor]
    indicators: dict[str, Tensor]
    observations: dict[str, Tensor]


class SimulatedModel(Protocol):
    """A model of which data can be simulated, and perhaps weighed by their density."""

    spec: ModelSpec
    parameters: ParameterSpace

    @property
    def exchangeable(self) -> Sequence[Exchangeable]:
        """Components that can be permuted."""
        ...

    @property
    def density(self) -> BatchedDensity | None:
        """The density, if there is one."""
        ...

    def sample_parameters(self, num_datasets: int, random_seed: RandomSeed) -> dict[str, Tensor]:
        """Draw parameters (B, *shape) from the prior."""
        ...

    def sample(self, num_datasets: int, random_seed: RandomSeed) -> _SimulatedData:
        """Simulate data sets, with new parameters for each."""
        ...

    def simulate(self, parameters: NamedTensors, random_seed: RandomSeed) -> _SimulatedData:
        """Simulate a data set for each draw of given parameters."""
        ...


def choose_orders(
    simulator: SimulatedModel, order_by: OrderBy = None
) -> tuple[CanonicalOrder, ...]:
    """Choose an order for each set of exchangeable components of a model.

    Parameters
    ----------
    simulator : SimulatedModel
        Of the model as it is.
    order_by : str or sequence of str, optional
        Parameters to order by; of components with variables of their own, any of these, or all of
        them. Default: for each set, that which separates its components best in simulations.

    Raises
    ------
    InvalidArgumentError
        If no components can be ordered by a parameter that is asked for.
    """
    wanted = _names(order_by)
    if not simulator.exchangeable:
        if wanted:
            raise _order_error(wanted[0], simulator, [])
        return ()
    draws = simulator.sample_parameters(_NUM_PARAMETERS, 1)
    every = [possible_orders(e, simulator.parameters, draws) for e in simulator.exchangeable]
    candidates = [
        [order for order in possible if not set(wanted).isdisjoint(order.names)] or possible
        for possible in every
    ]
    orders = [
        _best(simulator, draws, possible)
        for possible in _compatible(simulator.exchangeable, candidates)
    ]
    for name in wanted:
        if not any(name in order.names for order in orders):
            raise _order_error(name, simulator, [order for some in every for order in some])
    return tuple(orders)


def _compatible(
    sets: Sequence[Exchangeable], candidates: Sequence[Sequence[CanonicalOrder]]
) -> Iterator[list[CanonicalOrder]]:
    """Yield orders of sets of components that can all be in order, one set after the other.

    Rows and columns of a parameter may be permuted apart. First come orders that permutations of no
    other set disturb; then those that only sets disturb that are in order by then. Where there are
    none left, a set is in order if it shares nothing with those before.
    """
    waiting, arranged, closed = list(range(len(sets))), [], set()
    while waiting:
        free = {
            i: _undisturbed([sets[j] for j in waiting], sets[i], candidates[i]) for i in waiting
        }
        chosen = next((i for i in waiting if free[i]), waiting[0])
        waiting.remove(chosen)
        names, orders = set(sets[chosen].names), free[chosen] or candidates[chosen]
        shares = any(not names.isdisjoint(e.names) for e in arranged)
        overlaps = any(e.parts.overlaps(sets[chosen].parts) for e in arranged)
        if not orders or overlaps or names & closed or (shares and not free[chosen]):
            continue
        arranged.append(sets[chosen])
        closed |= set() if free[chosen] else names
        yield list(orders)


def _undisturbed(
    waiting: Sequence[Exchangeable], found: Exchangeable, orders: Sequence[CanonicalOrder]
) -> list[CanonicalOrder]:
    """Return the orders that permutations of other components leave as they are."""
    others = [e for e in waiting if e is not found and not set(e.names).isdisjoint(found.names)]
    if any(e.parts.overlaps(found.parts) for e in others):
        return []
    elsewhere = {name for e in others for name in e.names}
    return [order for order in orders if elsewhere.isdisjoint(order.names)]


def _names(order_by: OrderBy) -> list[str]:
    names = [order_by] if isinstance(order_by, str) else order_by or ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(
            f"Expected order_by to be the name of a parameter, or a list of names; got "
            f"{order_by!r}. For instance:\n\n    order_by='mu'"
        )
    return list(names)


def _order_error(
    name: str, simulator: SimulatedModel, possible: Sequence[CanonicalOrder]
) -> InvalidArgumentError:
    names = list(dict.fromkeys(name for order in possible for name in order.names))
    found = "; ".join(map(str, simulator.exchangeable)) or "no components are exchangeable"
    way_out = f"    order_by={names[0]!r}" if names else "    pma.fit(model)  # without order_by"
    after = "\n    pma.relabel(idata, 'ordering', by=...)  # afterwards, by anything"
    return InvalidArgumentError(
        f"Expected order_by to name a parameter by which exchangeable components can be ordered"
        f"{f', of {names}' if names else ''}, one for each set of components; got {name!r}. In "
        f"this model {found}. Order by another, or not at all:\n\n"
        f"{way_out}{after if names else ''}"
    )


def _best(
    simulator: SimulatedModel, draws: Mapping[str, Tensor], orders: Sequence[CanonicalOrder]
) -> CanonicalOrder:
    """Return the order whose values the data tell apart best."""
    if len(orders) == 1:
        return orders[0]
    if simulator.density is None:
        separations = _measure_separations(simulator, orders)
    else:
        unconstrained, information = _information(simulator, draws)
        separations = [_separation(order, unconstrained, information) for order in orders]
    return orders[max(range(len(orders)), key=separations.__getitem__)]


def _separation(
    order: CanonicalOrder, unconstrained: NamedTensors, information: NamedTensors
) -> float:
    """Return how often two components are put in the right order, on average: from 1/2 to 1.

    Two values at a distance d, which data tell to standard deviations s and t, are put in the right
    order with probability Φ(d / √(s² + t²)).
    """
    values = order.values(unconstrained)
    variances = 1 / order.values(information).abs()
    shares = []
    for i, j in order.exchangeable.pairs:
        distance = (values[:, i] - values[:, j]).abs()
        ratio = distance / (variances[:, i] + variances[:, j]).sqrt()
        shares.append(torch.special.ndtr(ratio.nan_to_num(nan=0.0)))
    return float(torch.stack(shares).mean())


def _information(
    simulator: SimulatedModel, draws: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return draws (S, *shape), unconstrained, and the Fisher information of each coordinate.

    The mean over simulated data sets of the squared derivative of log p(y given θ).
    """
    space, spec = simulator.parameters, simulator.spec
    entries = sum(math.prod(o.shape) for o in spec.observations)
    entries *= max(indicator.num_components for indicator in spec.indicators)
    count = min(_NUM_PARAMETERS, max(2, MEMORY.at_once(entries * _NUM_DATASETS)))
    vector = space.unconstrain({name: x[:count] for name, x in draws.items()})
    vector = vector[torch.isfinite(vector).all(1)]
    repeated = vector.repeat_interleave(_NUM_DATASETS, dim=0).requires_grad_()
    parameters = space.constrain(repeated)
    fixed = {name: x.detach() for name, x in parameters.items()}
    data = simulator.simulate(fixed, 2).observations
    log_likelihood = simulator.density.log_marginal(parameters, data)
    [score] = torch.autograd.grad(log_likelihood.sum(), repeated)
    information = score.square().unflatten(0, (-1, _NUM_DATASETS)).mean(1)
    return space.split(vector), space.split(information)


def _measure_separations(
    simulator: SimulatedModel, orders: Sequence[CanonicalOrder]
) -> list[float]:
    """Return for each order how often means or spreads of the data of components are in it.

    Or in the reverse order. Without a density, simulations have to tell.
    """
    space, simulation = simulator.parameters, simulator.sample(_NUM_SIMULATIONS, 3)
    unconstrained = space.split(space.unconstrain(simulation.parameters))
    shares = [[0.5] for _ in orders]
    for spec in simulator.spec.observations:
        if spec.indicator is None:
            continue
        indicator = next(i for i in simulator.spec.indicators if i.name == spec.indicator)
        codes = simulation.indicators[indicator.name].flatten(1) - indicator.support[0]
        statistics = _statistics_of_components(
            simulation.observations[spec.name], spec.owner, codes, indicator.num_components
        )
        for order, found in zip(orders, shares, strict=True):
            if indicator.name in order.exchangeable.indicators:
                found.append(_share_in_order(order, order.values(unconstrained), statistics))
    return [max(found) for found in shares]


def _statistics_of_components(
    y: Tensor, owner: np.ndarray, codes: Tensor, num_components: int
) -> Tensor:
    """Return means and standard deviations (B, K, 2 J) of the data (B, *shape) of components.

    NaN for components without data.
    """
    y = y.double().reshape(len(y), owner.size, -1)
    rows = torch.as_tensor(np.flatnonzero(owner.ravel() >= 0), device=y.device)
    units = torch.as_tensor(owner.ravel(), device=y.device)[rows]
    y, members = y[:, rows], torch.nn.functional.one_hot(codes[:, units], num_components).double()
    count = members.sum(1).unsqueeze(-1)  # (B, K, 1)
    mean = torch.einsum("bnk,bnj->bkj", members, y) / count
    square = torch.einsum("bnk,bnj->bkj", members, y.square()) / count
    return torch.cat([mean, (square - mean.square()).clamp(min=0).sqrt()], dim=-1)


def _share_in_order(order: CanonicalOrder, values: Tensor, statistics: Tensor) -> float:
    """Return how often statistics (B, K, F) are in the order of values (B, K), for the best one."""
    shares = []
    for i, j in order.exchangeable.pairs:
        difference = statistics[:, i] - statistics[:, j]
        known = torch.isfinite(difference)
        agrees = (difference > 0) == (values[:, i] > values[:, j]).unsqueeze(-1)
        share = (agrees & known).double().sum(0) / known.sum(0).clamp(min=1)
        shares.append(torch.maximum(share, 1 - share).max())
    return float(torch.stack(shares).mean())
