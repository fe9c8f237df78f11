"""A model, how its data are laid out, and its density: what is known without a network."""

import functools
import math

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset, read_dataset
from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import InvalidDataError, UnboundedDensityError
from pymc_amortized.graph.gradients import bare_gradients
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.memory import MEMORY, MemoryBudget, count_numbers
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.symmetry.canonical_order import Labelling
from pymc_amortized.typing import NamedTensors

__all__ = ["Problem"]

_DRAWS_TO_COUNT = 64
_FARTHEST = 8.0
_DRAWS_TO_EXPLAIN = 16


@dataclass(frozen=True, eq=False)
class Problem:
    """The model side of an answer.

    Attributes
    ----------
    simulator : Simulator
        The model.
    layout : DataLayout
        How data sets are laid out.
    space : ParameterSpace
        Its parameters.
    exact : ExactModel or None
        The density, if there is one.
    memory : MemoryBudget
        How much is worked on at once.
    """

    simulator: Simulator
    layout: DataLayout
    space: ParameterSpace
    exact: ExactModel | None
    memory: MemoryBudget = MEMORY

    @staticmethod
    def of_model(
        simulator: Simulator,
        layout: DataLayout,
        space: ParameterSpace,
        memory: MemoryBudget = MEMORY,
    ) -> "Problem":
        """Return the problem of a model, with its density if it has one."""
        density = simulator.density
        exact = None if density is None else ExactModel(density, layout, memory)
        return Problem(simulator, layout, space, exact, memory)

    def with_exact(self, exact: ExactModel | None) -> "Problem":
        """Return the same with another density; None: as if nothing could be checked."""
        return replace(self, exact=exact)

    @property
    def spec(self) -> ModelSpec:
        """The reading of the model."""
        return self.simulator.spec

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.simulator.device

    @property
    def source(self) -> SimulationSource:
        """What draws data sets as networks are trained on them."""
        return SimulationSource(self.simulator, self.layout, self.space, self.memory)

    @property
    def labelling(self) -> Labelling:
        """The order that exchangeable components are in."""
        return self.simulator.labelling

    def read(
        self,
        data: Mapping[str, Any] | None,
        atoms: Mapping[str, np.ndarray] | None = None,
        *,
        any_size: bool = False,
    ) -> Dataset:
        """Check a user's data, and lay them out; None stands for those of the model.

        Parameters
        ----------
        data : mapping of str to array, or None
            The user's.
        atoms : mapping of str to numpy.ndarray, optional
            Values that simulations repeat, by variable: see :func:`read_dataset`.
        any_size : bool
            Whether any number of units will do: for what needs no network that was trained for it.
        """
        self._require_unchanged(data)
        observed = self.simulator.observed_data
        return read_dataset(self.layout, observed, data, atoms, any_size=any_size)

    def _require_unchanged(self, data: Mapping[str, Any] | None) -> None:
        """Refuse to answer for data that the model no longer holds."""
        spec = self.spec
        conditions = {c.name for c in spec.covariates}
        changed = self.simulator.changed_data
        if data is not None:
            changed = tuple(name for name in changed if name in conditions and name not in data)
        if not changed:
            return
        names = [o.name for o in spec.observations] + [n for n in changed if n in conditions]
        given = ", ".join(f'"{name}": ...' for name in names)
        raise InvalidDataError(
            f"Expected the data that the model held when it was read; {list(changed)} have been "
            "changed since, by pm.set_data. Read the model again (a network that fits is found in "
            "the cache), or give the data by name:\n\n"
            f"    posterior = pma.fit(model)\n    posterior.sample({{{given}}})"
        )

    @torch.no_grad()
    def log_joint(self, vector: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over unconstrained parameters; -inf for NaN.

        Raises
        ------
        UnboundedDensityError
            If it is infinite at some draw that the prior allows.
        """
        shape, flat = vector.shape[:2], vector.flatten(0, 1)
        parameters = self.constrain(flat, shape)
        log_marginal = self.exact.log_marginal(parameters, frames)
        log_prior = self.exact.density.log_prior(self.space.split(flat)).unflatten(0, shape)
        return self._add_up(log_prior, log_marginal, parameters, frames)

    def _add_up(
        self, log_prior: Tensor, log_marginal: Tensor, parameters: NamedTensors, frames: Frames
    ) -> Tensor:
        unknown = ~(log_marginal < math.inf) & torch.isfinite(log_prior)
        if bool(unknown.any()):
            # Where a parameter overflows, such as exp(800), what is infinite is not due to data.
            unknown &= self._is_near(parameters, unknown.shape)
        if bool(unknown.any()):
            self._require_bounded(unknown, parameters, frames)
        return (log_prior + log_marginal).nan_to_num(
            nan=-math.inf, posinf=-math.inf, neginf=-math.inf
        )

    def _is_near(self, parameters: NamedTensors, shape: tuple[int, ...]) -> Tensor:
        """Tell (S, B) which draws lie where prior draws do, by scores of at most 8."""
        if not parameters or self.space.normal_scores is None:
            return torch.ones(shape, dtype=torch.bool)
        flat = {name: x.flatten(0, 1) for name, x in parameters.items()}
        scores, _ = self.space.standardize(self.space.unconstrain(flat))
        return (scores.abs() < _FARTHEST).all(-1).reshape(shape)

    def _require_bounded(self, unknown: Tensor, parameters: NamedTensors, frames: Frames) -> None:
        """Refuse data of infinite density; what is NaN (S, B) may come of one, or of zeros."""
        dataset = int(unknown.any(0).nonzero()[0])
        draws = unknown[:, dataset].nonzero()[:_DRAWS_TO_EXPLAIN, 0]
        at = {name: x[draws, dataset : dataset + 1] for name, x in parameters.items()}
        one = frames.select(torch.tensor([dataset], device=unknown.device))
        places = self.places(lambda x: torch.isposinf(x).any(0), at, one)
        if places:
            raise UnboundedDensityError.at(places)

    def places(
        self,
        test: Callable[[Tensor], Tensor],
        parameters: NamedTensors,
        frames: Frames,
        positions: Sequence[np.ndarray] | None = None,
    ) -> dict[str, list[int]]:
        """Return where in one data set densities under some draws are so, in words.

        Parameters
        ----------
        test : callable
            Of log densities (S, ...) of units, or in the likeliest state: a tensor of bool (...).
        parameters : mapping of str to Tensor, shape (S, 1, *shape)
            The draws.
        frames : Frames
            Of one data set.
        positions : sequence of numpy.ndarray, optional
            Where rows of each table lie in frames. Default: one after the other.

        Returns
        -------
        dict of str to list of int
            Rows, or time points, by what they are of.
        """
        found: dict[str, list[int]] = {}
        for i, table in enumerate(self.layout.tables):
            if table.is_sequence:
                emission = self.exact.log_emission(table.indicator, parameters, frames)
                rows = test(emission.amax(-1))[0]
                rows = rows.reshape(-1, rows.shape[-1]).any(0)
                found[f"{table.name!r} at the time points"] = rows.nonzero()[:, 0].tolist()
                continue
            for name, log_likelihood in self.exact.by_unit(parameters, frames, table):
                rows = test(log_likelihood)[0].flatten().cpu()
                if positions is not None and not table.grouped:
                    rows = rows[torch.as_tensor(positions[i])]
                found[f"{name!r} at"] = rows.nonzero()[:, 0].tolist()
        return {name: rows for name, rows in found.items() if rows}

    @functools.cached_property
    def log_prior_mass(self) -> tuple[float, float]:
        """Log probability of the region of the prior, in nats, and its standard error."""
        return self.simulator.log_prior_mass()

    @torch.no_grad()
    def log_target(self, scores: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over standardized parameters; -inf for NaN."""
        shape = scores.shape[:2]
        if not self.space.size:
            return self.exact.log_marginal({}, frames).expand(shape)
        vector, log_det = self.space.unstandardize(scores.flatten(0, 1))
        return self.log_joint(vector.unflatten(0, shape), frames) + log_det.unflatten(0, shape)

    def numbers_per_draw(self, frames: Frames) -> float:
        """Return how many numbers log p(θ, y) of one draw and one data set computes."""
        one = frames.select(torch.zeros(1, dtype=torch.long))
        shape = (_DRAWS_TO_COUNT, 1, self.space.size)
        few = torch.zeros(shape, dtype=torch.float64, device=self.device)
        return max(1, count_numbers(lambda: self.log_target(few, one))) / _DRAWS_TO_COUNT

    def log_target_with_gradient(self, scores: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        """Return log p(θ, y) (S, B) in nats, with its gradient (S, B, D) over scores.

        What depends on parameters alone is done for all draws together: the pieces that tables of
        densities are worked on in are so small that it would take longer than these. Where the
        density is no finite number, nor need the gradient be.
        """
        with bare_gradients():
            values, gradient = self._differentiate(scores, frames)
        lost = (torch.isfinite(values) & ~torch.isfinite(gradient).all(-1)).any(1)
        if bool(lost.any()):
            values, gradient = values.clone(), gradient.clone()
            values[lost], gradient[lost] = self._differentiate(scores[lost], frames)
        return values, gradient

    def _differentiate(self, scores: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        x, shape = scores.detach().requires_grad_(), scores.shape[:2]
        with torch.enable_grad():
            vector, log_det = self.space.unstandardize(x.flatten(0, 1))
            parameters = self.constrain(vector, shape)
            log_prior = self.exact.density.log_prior(self.space.split(vector)) + log_det
            log_prior = log_prior.unflatten(0, shape)
        fixed = {name: value.detach() for name, value in parameters.items()}
        log_marginal, slopes = self.exact.log_marginal_with_gradient(fixed, frames)
        total = self._add_up(log_prior.detach(), log_marginal, fixed, frames)
        finite = torch.isfinite(total)
        # A sum of products, for slopes as ``grad_outputs`` would have torch import for a second.
        with torch.enable_grad():
            products = [log_prior[finite].sum()]
            for name, value in parameters.items():
                if value.requires_grad:
                    chosen = finite.reshape(*shape, *(1,) * (value.ndim - 2))
                    slope = torch.where(chosen, slopes[name], 0.0)
                    products.append((value * slope).sum())
        [gradient] = torch.autograd.grad(sum(products), x)
        return total, gradient

    def parameters(self, scores: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return unconstrained vectors, constrained parameters, and log |dv/ds| of (S, B, D)."""
        shape = scores.shape[:2]
        if not self.space.size:
            return scores, {}, scores.new_zeros(shape)
        vector, log_det = self.space.unstandardize(scores.flatten(0, 1))
        constrained = self.constrain(vector, shape)
        return vector.unflatten(0, shape), constrained, log_det.unflatten(0, shape)

    def constrain(self, vector: Tensor, shape: torch.Size) -> dict[str, Tensor]:
        """Return parameters (*shape, ...) by name for unconstrained vectors (S, D)."""
        return {name: x.unflatten(0, shape) for name, x in self.space.constrain(vector).items()}
