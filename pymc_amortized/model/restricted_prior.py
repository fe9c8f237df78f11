"""Draws from the prior that NUTS would sample: restricted to what transforms and potentials allow.

Forward sampling in PyMC ignores transforms, so that ``transform=ordered`` holds by chance alone.
Here a draw is sorted where its elements are exchangeable, and everything else is rejected and drawn
again *as a whole*: to redraw one variable alone would change the prior of those that it depends on.
"""

import math

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pymc.distributions.transforms import Ordered, _default_transform
from pymc.logprob.transforms import ChainedTransform, IntervalTransform, Transform
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType
from torch import Tensor

from pymc_amortized.errors import AcceptanceRateError, UnsupportedModelError
from pymc_amortized.graph.backend import (
    Backend,
    BatchedFunction,
    BatchedGraph,
    DrawnInTurn,
)
from pymc_amortized.model.bijections import Bijections
from pymc_amortized.model.complete_model import CompleteModel, Parameter

__all__ = ["RestrictedPrior"]

MINIMAL_ACCEPTANCE_RATE = 1e-3
_NUM_FOR_MASS = 100_000


@dataclass(frozen=True, slots=True)
class _Stage:
    """How parameters are drawn, given those before them, and what is done with the last of them."""

    draw: BatchedFunction
    last: int
    descending: bool | None
    may_leave_image: bool


_ORDERED = (
    "Sorting would be exact only for elements with the same prior. Give the ordered elements one "
    "prior, or write the order into the model:\n\n"
    '    gaps = pm.HalfNormal("gaps", 1, shape=K - 1)\n'
    '    mu = pm.Deterministic("mu", pt.concatenate([[mu0], mu0 + pt.cumsum(gaps)]))'
)
_CONSTRAINED = (
    "Give the parameters a prior that is where the constraint allows, for instance:\n\n"
    '    mu = pm.Truncated("mu", pm.Normal.dist(mean, sd), lower=lower, upper=upper)'
)


class RestrictedPrior:
    """The prior of a model's parameters, restricted as NUTS restricts it.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    backend : {"auto", "torch", "pytensor"}
        Where to draw.
    """

    def __init__(self, complete: CompleteModel, backend: Backend) -> None:
        self.parameters = complete.parameters
        self._values = [
            complete.model.rvs_to_values[complete.model[parameter.name]]
            for parameter in complete.parameters
        ]
        self.bijections = self.bijections_of(complete.parameters)
        self._stages = tuple(_stages(complete, backend))
        self._potential_names = tuple(complete.potentials)
        self._potentials = BatchedGraph(
            complete.parameter_variables, list(complete.potentials.values())
        )

    def bijections_of(self, parameters: Sequence[Parameter]) -> Bijections:
        """Return the bijections of these parameters, perhaps with other transforms."""
        return Bijections(parameters, self._values)

    def sample(
        self, num_datasets: int, device: torch.device, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Draw parameters.

        Parameters
        ----------
        num_datasets : int
            Number of draws, B.
        device : torch.device
            Where the draws live.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of str to Tensor
            Constrained parameters (B, *shape).

        Raises
        ------
        AcceptanceRateError
            If fewer than 1 in 1,000 draws are accepted.
        """
        kept: list[list[Tensor]] = []
        num_kept = num_proposed = 0
        while num_kept < num_datasets:
            missing = num_datasets - num_kept
            rate = max(num_kept / num_proposed, MINIMAL_ACCEPTANCE_RATE) if num_proposed else 1.0
            num_new = int(min(missing / rate * 1.1 + 1, max(50_000, missing)))
            num_new = num_new if num_proposed else missing
            draws, accepted = self._propose(num_new, device, generator)
            num_proposed += num_new
            if not bool(accepted.all()):
                draws = [draw[accepted] for draw in draws]
            num_kept += int(accepted.sum())
            kept.append(draws)
            self._check_rate(num_kept, num_proposed)
        if len(kept) == 1:
            return dict(zip(self._names, kept[0], strict=True))
        columns = zip(*kept, strict=True)
        return {
            name: torch.cat(column)[:num_datasets]
            for name, column in zip(self._names, columns, strict=True)
        }

    def log_mass(self, device: torch.device, generator: torch.Generator) -> tuple[float, float]:
        """Return the log probability that the prior gave to the region it is restricted to.

        A density that PyMC evaluates is that of the prior before it is restricted, so that its
        integral over the region is this probability.

        Parameters
        ----------
        device : torch.device
            Where to draw.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        log_mass : float
            In nats: exact for sorted elements, of which one order in n! is kept; estimated from
            100,000 draws where draws are rejected.
        error : float
            Standard error of the estimate.
        """
        draws, _ = self._propose(2, device, generator)
        log_sorted = -sum(
            math.prod(draws[s.last].shape[1:-1]) * math.lgamma(draws[s.last].shape[-1] + 1)
            for s in self._stages
            if s.descending is not None
        )
        if not any(stage.may_leave_image for stage in self._stages) and not self._potential_names:
            return log_sorted, 0.0
        parts = [self._propose(_NUM_FOR_MASS // 5, device, generator)[1] for _ in range(5)]
        share = float(torch.cat(parts).double().mean())
        error = math.sqrt((1 - share) / (share * _NUM_FOR_MASS)) if share else math.inf
        return log_sorted + (math.log(share) if share else -math.inf), error

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def _propose(
        self, batch: int, device: torch.device, generator: torch.Generator
    ) -> tuple[list[Tensor], Tensor]:
        drawn: list[Tensor] = []
        accepted = torch.ones(batch, dtype=torch.bool, device=device)
        for stage in self._stages:
            drawn += stage.draw(drawn, batch=batch, device=device, generator=generator)
            if stage.descending is not None:
                drawn[-1] = drawn[-1].sort(dim=-1, descending=stage.descending).values
            if stage.may_leave_image:
                accepted &= self.bijections.in_image(stage.last, drawn)
        potentials = self._potentials(drawn) if self._potential_names else []
        for name, potential in zip(self._potential_names, potentials, strict=True):
            batched = isinstance(potential, Tensor)
            tensor = potential if batched else torch.as_tensor(potential, device=device)[None]
            accepted &= self._check_potential(name, tensor, batch)
        return drawn, accepted

    def _check_potential(self, name: str, potential: Tensor, batch: int) -> Tensor:
        """Use a potential as the rule that it must be: 0 where allowed, -inf where not."""
        if not bool(((potential == 0) | torch.isneginf(potential)).all()):
            finite = potential[torch.isfinite(potential) & (potential != 0)]
            found = f"{float(finite[0]):.4g}" if finite.numel() else "NaN or inf"
            raise UnsupportedModelError(
                f"Expected the potential {name!r} to be 0 where the parameters are allowed and "
                f"-inf where they are not; got {found}. Such a term re-weights the model, so that "
                "forward simulation no longer draws from it. Write it as a distribution, or as a "
                f'constraint:\n\n    pm.Potential("{name}", pt.switch(allowed, 0, -np.inf))'
            )
        return (potential == 0).reshape(potential.shape[0], -1).all(1).expand(batch)

    def _check_rate(self, num_kept: int, num_proposed: int) -> None:
        rate = num_kept / num_proposed
        if num_proposed >= 20_000 and rate < MINIMAL_ACCEPTANCE_RATE:
            names = [self._names[s.last] for s in self._stages if s.may_leave_image]
            way_out = _ORDERED if names else _CONSTRAINED
            raise AcceptanceRateError(
                "Expected at least 1 in 1,000 prior draws to satisfy the constraints of "
                f"{[*names, *self._potential_names]}; got {num_kept} of {num_proposed:,}. "
                f"{way_out}",
                acceptance_rate=rate,
            )


def _stages(complete: CompleteModel, backend: Backend) -> Iterator[_Stage]:
    """Yield stages, each of which ends where a draw is sorted, or may be rejected."""
    variables, first = complete.parameter_variables, 0
    for last, parameter in enumerate(complete.parameters):
        descending, may_leave_image = _sorting(parameter), _may_leave_image(parameter)
        ends = descending is not None or may_leave_image or last == len(variables) - 1
        if ends:
            draw = DrawnInTurn(variables[:first], variables[first : last + 1], backend)
            yield _Stage(draw, last, descending, may_leave_image)
            first = last + 1


def _sorting(parameter: Parameter) -> bool | None:
    """Return whether to sort downwards (True) or upwards (False), or None where sorting is wrong.

    Sorting a draw of exchangeable elements gives a draw from the prior restricted to the sorted
    cone. The cone has the same prior probability whatever the elements' parents are, so that the
    parents' prior is untouched.
    """
    orderings = [t for t in _parts(parameter.transform) if isinstance(t, Ordered)]
    if not orderings or not _is_exchangeable(parameter.variable):
        return None
    return not getattr(orderings[0], "ascending", True)


def _parts(transform: Transform | None) -> list[Transform]:
    if isinstance(transform, ChainedTransform):
        return [part for inner in transform.transform_list for part in _parts(inner)]
    return [] if transform is None else [transform]


def _is_exchangeable(variable: Variable) -> bool:
    """Whether the elements along the last axis are independent with the same parameters."""
    op = variable.owner.op
    if not isinstance(op, RandomVariable) or op.ndim_supp > 0:
        return False
    return all(_is_shared(parameter) for parameter in op.dist_params(variable.owner))


def _is_shared(parameter: Variable) -> bool:
    if parameter.type.ndim == 0 or parameter.type.broadcastable[-1]:
        return True
    if any(isinstance(ancestor.type, RandomType) for ancestor in ancestors([parameter])):
        return False
    [value] = BatchedGraph([], [parameter])([])
    return isinstance(value, np.ndarray) and bool(np.all(value == value[..., :1]))


def _may_leave_image(parameter: Parameter) -> bool:
    """Whether draws can lie where the transform does not reach.

    They cannot under the transform that PyMC itself chose for the distribution, nor once they are
    sorted, if all that is asked of them is to be in order. An interval may have been narrowed by
    the user, so its type alone does not tell.
    """
    only_ordered = all(isinstance(part, Ordered) for part in _parts(parameter.transform))
    if parameter.transform is None or (only_ordered and _sorting(parameter) is not None):
        return False
    if isinstance(parameter.transform, IntervalTransform):
        return True
    default = _default_transform(parameter.variable.owner.op, parameter.variable)
    return type(default) is not type(parameter.transform)
