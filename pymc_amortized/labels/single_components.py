"""Components that are variables of their own, laid side by side, and taken apart again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import xarray

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.results.reading import SAMPLED
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.component_parts import Members

__all__ = ["SingleComponents"]

Groups = dict[str, xarray.Dataset]


@dataclass(frozen=True, slots=True)
class SingleComponents:
    """Parameters of single components (``mu_0``, ``mu_1``), and mirrored ones, of a posterior.

    Attributes
    ----------
    simulator : Simulator or None
        The model; without one nothing is known.
    variables : tuple of Members
        Parameters that take each other's places, by label.
    mirrored : tuple of (str, float)
        Parameters x of which the other of two components has c - x, with c.
    """

    simulator: Simulator | None
    variables: tuple[Members, ...] = ()
    mirrored: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of_model(cls, simulator: Simulator | None) -> "SingleComponents":
        """Return those of a model.

        Raises
        ------
        InvalidArgumentError
            If not all of its components can be exchanged.
        """
        found = [] if simulator is None else simulator.exchangeable
        single = [e for e in found if e.parts.variables or e.parts.mirrored]
        if any(e.is_partial for e in single):
            raise InvalidArgumentError(
                "Expected components of which each can be exchanged with each, where they are "
                f"variables of their own; {'; '.join(map(str, single))}. Ask for draws in one "
                "labelling instead:\n\n    idata = pma.fit(model).sample()"
            )
        variables = (members for e in single for members in e.parts.variables)
        mirrored = (one for e in single for one in e.parts.mirrored)
        return cls(simulator, tuple(dict.fromkeys(variables)), tuple(dict.fromkeys(mirrored)))

    def together(self, name: str | None) -> str | None:
        """Return the name of a variable and those that lie side by side with it, if any."""
        for members in self.variables:
            if name in members:
                return ", ".join(members)
        return next((f"{n}, {c:g} - {n}" for n, c in self.mirrored if n == name), name)

    def dims_of(self, names: Iterable[str]) -> list[str]:
        """Return the dims that count components where these parameters lie side by side."""
        return [_dim(self.together(name)) for name in names if self.together(name) != name]

    def fold(self, groups: Groups) -> Groups:
        """Return groups whose posterior has a dim of components; what is computed is left out."""
        if not self.variables and not self.mirrored:
            return groups
        posterior = groups["posterior"].drop_vars(self._computed, errors="ignore")
        new = {}
        for members in self.variables:
            arrays = [posterior[name].variable.transpose(*SAMPLED, ...) for name in members]
            new[self.together(members[0])] = [x.to_numpy() for x in arrays]
        for name, total in self.mirrored:
            values = posterior[name].variable.transpose(*SAMPLED, ...).to_numpy()
            new[self.together(name)] = [values, total - values]
        names = [name for members in self.variables for name in members]
        names += [name for name, _ in self.mirrored]
        folded = {
            name: (_dims(name, x[0].ndim - 2), np.stack(x, axis=2)) for name, x in new.items()
        }
        return {**groups, "posterior": posterior.drop_vars(names).assign(folded)}

    def unfold(self, groups: Groups, before: Groups) -> Groups:
        """Return groups with the variables that there were before, computed ones anew."""
        if not self.variables and not self.mirrored:
            return groups
        folded, posterior, values = groups["posterior"], before["posterior"], {}
        for members in self.variables:
            together = folded[self.together(members[0])].to_numpy()
            values |= {name: together[:, :, label] for label, name in enumerate(members)}
        values |= {n: folded[self.together(n)].to_numpy()[:, :, 0] for n, _ in self.mirrored}
        taken = self.dims_of(values)
        changed = folded.drop_dims(taken).assign(
            {n: _like(posterior[n], values[n]) for n in values}
        )
        again = self._compute(changed)
        changed = changed.assign({n: _like(posterior[n], x) for n, x in again.items()})
        stats = groups["sample_stats"]
        renamed = {dim: "component" for dim in stats.dims if dim in taken}
        return {**groups, "posterior": changed, "sample_stats": stats.rename(renamed)}

    @property
    def _computed(self) -> list[str]:
        return [d.name for d in self.simulator.spec.deterministics]

    def _compute(self, posterior: xarray.Dataset) -> dict[str, np.ndarray]:
        """Return all that is computed from parameters alone."""
        draws = {}
        for p in self.simulator.spec.parameters:
            x = posterior[p.name].transpose(*SAMPLED, ...).to_numpy()
            draws[p.name] = torch.as_tensor(x.reshape(-1, *x.shape[2:]).astype(float))
        shape = tuple(posterior.sizes[dim] for dim in SAMPLED)
        found = self.simulator.deterministics(draws)
        return {name: x.cpu().numpy().reshape(*shape, *x.shape[1:]) for name, x in found.items()}


def _dim(together: str) -> str:
    return f"one of {together}"


def _dims(together: str, num_axes: int) -> tuple[str, ...]:
    return *SAMPLED, _dim(together), *(f"{together}: axis {axis}" for axis in range(num_axes))


def _like(before: xarray.DataArray, values: np.ndarray) -> xarray.DataArray:
    """Return an array with other values, (chain, draw, ...)."""
    return before.transpose(*SAMPLED, ...).copy(data=values).transpose(*before.dims)
