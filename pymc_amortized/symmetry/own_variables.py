"""Parameters that belong to single components, and which of them take each other's places.

Neither names nor the graph are asked, but the model: a parameter belongs to a component where a
change of it changes what the data of that one component are drawn from, or what such parameters
are drawn from. Those of two components belong to each other if changes of them have the same
effects, at a point at which all components are alike.
"""

from collections.abc import Iterator, Sequence

import torch

from torch import Tensor

from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.symmetry.component_parts import Members
from pymc_amortized.symmetry.invariance import Invariance

__all__ = ["own_variables"]


def own_variables(spec: ModelSpec, asked: Invariance, num_labels: int) -> list[tuple[Members, ...]]:
    """Return parameters of single components, as they could be exchanged.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    asked : Invariance
        The model, which tells what depends on what.
    num_labels : int
        K, of the indicators whose components are meant.

    Returns
    -------
    list of tuple of Members
        All that has to be exchanged at once, for each indicator that does not share it with others:
        one name for each label, or None where a component has nothing alike.
    """
    kinds = [(p.shape, p.unconstrained_shape, p.transform) for p in spec.parameters]
    if len(set(kinds)) == len(kinds):
        return []
    dependents, prior = asked.dependents(), asked.prior_profile()
    found: list[list[Members]] = []
    for indicator in spec.indicators:
        if indicator.num_components != num_labels:
            continue
        owners = _owners(asked.touched(indicator), dependents)
        profile = asked.profile(indicator)
        alike = torch.stack([prior, profile.gather(1, owners.clamp(min=0)[:, None])[:, 0]], dim=1)
        classes = _classes(kinds, owners, alike)
        groups = [m for members in classes for m in _by_label(spec, owners, members, num_labels)]
        shared = next((known for known in found if set(known) & set(groups)), None)
        if shared is not None:
            shared += [members for members in groups if members not in shared]
        elif groups:
            found.append(groups)
    return [tuple(groups) for groups in found]


def _owners(touched: Tensor, dependents: Tensor) -> Tensor:
    """Return the label that each of V parameters belongs to; -1 where there is no single one.

    Parameters
    ----------
    touched : Tensor of bool, shape (V, K)
        On which labels' data, or weights, each parameter has an effect.
    dependents : Tensor of bool, shape (V, V)
        Whether the prior of the second depends on the first, which comes before it.
    """
    labels = touched.clone()
    for v in reversed(range(len(labels))):
        for child in dependents[v].nonzero()[:, 0].tolist():
            labels[v] |= labels[child] if bool(labels[child].any()) else True
    return torch.where(labels.sum(1) == 1, labels.int().argmax(1), -1)


def _classes(kinds: Sequence[tuple], owners: Tensor, alike: Tensor) -> list[list[int]]:
    """Return positions of owned parameters in classes of equal kinds and effects (V, 2)."""
    classes: list[list[int]] = []
    for v in range(len(kinds)):
        if int(owners[v]) < 0:
            continue
        for members in classes:
            same = torch.isclose(alike[v], alike[members[0]], rtol=1e-8, equal_nan=True)
            if kinds[v] == kinds[members[0]] and bool(same.all()):
                members.append(v)
                break
        else:
            classes.append([v])
    return classes


def _by_label(
    spec: ModelSpec, owners: Tensor, members: Sequence[int], num_labels: int
) -> Iterator[Members]:
    """Yield one parameter of each label at a time, in the order of the model."""
    queues = [[v for v in members if int(owners[v]) == label] for label in range(num_labels)]
    for place in range(max(map(len, queues))):
        yield tuple(spec.parameters[q[place]].name if place < len(q) else None for q in queues)
