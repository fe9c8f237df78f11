"""Answers in one labelling, or in all of them alike: draws of a symmetric posterior, permuted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch

from torch import Tensor

from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.independent_units import IndicatorDraws
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, Labelling, permuted

__all__ = ["Labels", "label_attrs", "label_note", "symmetric"]

Labels = Literal["canonical", "symmetric"]


def symmetric(
    draws: Draws,
    indicators: Mapping[str, IndicatorDraws],
    labelling: Labelling,
    spec: ModelSpec,
    generator: torch.Generator,
) -> tuple[Draws, dict[str, IndicatorDraws]]:
    """Return draws of the posterior as the model is written: every labelling equally probable.

    Each draw is permuted at random, parameters and indicators together. Probabilities of
    indicators, averages over all draws, are averaged over all labellings exactly.

    Parameters
    ----------
    draws : Draws
        In canonical labels.
    indicators : mapping of str to IndicatorDraws
        Likewise.
    labelling : Labelling
        Which components are exchangeable.
    spec : ModelSpec
        The reading of the model.
    generator : torch.Generator
        Of the randomness.
    """
    parameters, found = draws.parameters, dict(indicators)
    score = draws.log_q if draws.log_joint is None else draws.log_joint
    best = int(score.argmax())
    for order in labelling.orders:
        permutations = order.random_permutations(len(draws.log_q), generator)
        parameters = permuted(parameters, order.exchangeable, permutations)
        for indicator in spec.indicators:
            name = indicator.name
            if name in order.exchangeable.indicators and name in found:
                lowest = indicator.support[0]
                found[name] = _permuted(found[name], order, permutations, best, lowest)
    vector = labelling.space.unconstrain(parameters) if parameters else draws.vector
    log_q = draws.log_q - labelling.log_count
    return replace(draws, parameters=parameters, vector=vector, log_q=log_q), found


def _permuted(
    drawn: IndicatorDraws, order: CanonicalOrder, permutations: Tensor, best: int, lowest: int
) -> IndicatorDraws:
    """Permute an indicator: component ``permutations[s, j]`` of draw s goes to place j."""
    places = permutations.argsort(dim=1).to(drawn.values.device)
    flat = (drawn.values - lowest).flatten(1)
    values = places.gather(1, flat).reshape(drawn.values.shape) + lowest
    viterbi = drawn.viterbi
    if viterbi is not None:
        viterbi = places[best][viterbi - lowest] + lowest
    return replace(
        drawn,
        values=values,
        probabilities=_averaged(drawn.probabilities, order),
        filtering=None if drawn.filtering is None else _averaged(drawn.filtering, order),
        viterbi=viterbi,
    )


def _averaged(table: Tensor, order: CanonicalOrder) -> Tensor:
    """Average probabilities (*units, K) over all labellings."""
    averaged = table.clone()
    for block in order.exchangeable.blocks:
        members = list(block)
        averaged[..., members] = table[..., members].mean(-1, keepdim=True)
    return averaged


def label_attrs(labelling: Labelling, labels: Labels) -> dict[str, Any]:
    """Return what an answer's attributes say of its labels; nothing of unlike components."""
    if not labelling.orders:
        return {}
    if labels == "symmetric":
        return {"labels": labels}
    return {"labels": labels, "labels_ordered_by": str(labelling)}


def label_note(labelling: Labelling, labels: Labels) -> str:
    """Say in one line which labelling an answer is in; nothing of unlike components."""
    if not labelling.orders:
        return ""
    found = "; ".join(str(order.exchangeable) for order in labelling.orders)
    found = found[0].upper() + found[1:]
    if labels == "symmetric":
        return f"{found}; labels are permuted at random."
    return (
        f"{found}; labels are in ascending order of {labelling}. "
        'labels="symmetric" gives the posterior as the model is written, in all labellings.'
    )
