"""The labels that answers are in: one labelling of exchangeable components, or all of them."""

import math

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch

from torch import Tensor

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.model.spec import IndicatorSpec, ModelSpec
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, Labelling, permute_codes

__all__ = ["AnswerLabels", "Labels", "check_labels"]

Labels = Literal["canonical", "symmetric"]

_OVERLAP = 0.05


class _Draws(Protocol):
    """Draws of parameters, a frozen dataclass."""

    parameters: dict[str, Tensor]
    vector: Tensor
    log_joint: Tensor | None
    log_q: Tensor


class _IndicatorDraws(Protocol):
    """Draws of an indicator, and its probabilities, a frozen dataclass."""

    values: Tensor
    probabilities: Tensor
    filtering: Tensor | None
    viterbi: Tensor | None


@dataclass(frozen=True, slots=True)
class AnswerLabels:
    """Which labels answers have, where they could have others.

    Attributes
    ----------
    labelling : Labelling
        That a network was trained in.
    spec : ModelSpec
        The reading of the model.
    labels : {"canonical", "symmetric"}
        Which labels are asked for.

    Raises
    ------
    InvalidArgumentError
        If labels of another name are asked for.
    """

    labelling: Labelling
    spec: ModelSpec
    labels: Labels = "canonical"

    def __post_init__(self) -> None:
        check_labels(self.labels)

    @property
    def attrs(self) -> dict[str, Any]:
        """What an answer's attributes say of its labels; nothing of unlike components."""
        if not self.labelling.orders:
            return {}
        if self.labels == "symmetric":
            return {"labels": self.labels}
        return {"labels": self.labels, "labels_ordered_by": str(self.labelling)}

    @property
    def note(self) -> str:
        """One line on which labelling an answer is in; nothing of unlike components."""
        if not self.labelling.orders:
            return ""
        found = "; ".join(str(order.exchangeable) for order in self.labelling.orders)
        found = found[0].upper() + found[1:]
        if self.labels == "symmetric":
            return f"{found}; labels are permuted at random."
        return (
            f"{found}; labels are in ascending order of {self.labelling}. "
            'labels="symmetric" gives the posterior as the model is written, in all labellings.'
        )

    def overlap(self, draws: _Draws) -> float:
        """Return how much neighbours overlap in what they are ordered by, from 0 to 0.5.

        The largest share of draws of one component that lie above other draws of the next: half
        where the order tells nothing. NaN of unlike components, and in symmetric labels.
        """
        if not self.labelling.orders or self.labels == "symmetric":
            return math.nan
        space = self.labelling.space
        unconstrained = space.split(space.unconstrain(draws.parameters))
        shares = [0.0]
        for order in self.labelling.orders:
            values = order.values(unconstrained)
            others = values.roll(len(values) // 2, 0)
            for block in order.blocks:
                below, above = values[:, list(block[:-1])], others[:, list(block[1:])]
                shares += (below > above).double().mean(0).tolist()
        return max(shares)

    def note_of(self, draws: _Draws) -> str:
        """Return the note, and what overlap there is."""
        overlap = self.overlap(draws)
        if not overlap > _OVERLAP:
            return self.note
        return (
            f"{self.note} Components overlap in {self.labelling} ({overlap:.0%} of draws of one "
            "lie above the next): a label may stand for two of them in turn. Order by another "
            "parameter, or relabel by who belongs together:\n\n"
            "    pma.fit(model, order_by=...)\n    pma.relabel(idata)"
        )

    def symmetrize(
        self, draws: _Draws, indicators: Mapping[str, _IndicatorDraws], generator: torch.Generator
    ) -> tuple[_Draws, dict[str, _IndicatorDraws]]:
        """Return draws with the labels that are asked for.

        In canonical labels they are what they were. In symmetric ones they are draws of the
        posterior as the model is written, every labelling equally probable: each draw is permuted
        at random, parameters and indicators together. Probabilities of indicators, averages over
        all draws, are averaged over all labellings exactly.

        Parameters
        ----------
        draws : Draws
            In canonical labels.
        indicators : mapping of str to IndicatorDraws
            Likewise.
        generator : torch.Generator
            Of the randomness.
        """
        if self.labels == "canonical":
            return draws, dict(indicators)
        parameters, found = draws.parameters, dict(indicators)
        score = draws.log_q if draws.log_joint is None else draws.log_joint
        best = int(score.argmax())
        for order in self.labelling.orders:
            permutations = order.random_permutations(len(draws.log_q), generator)
            parameters = order.exchangeable.parts.permuted(parameters, permutations)
            for spec in self.spec.named_indicators:
                if spec.name in order.exchangeable.indicators and spec.name in found:
                    found[spec.name] = _permute(found[spec.name], spec, order, permutations, best)
        vector = self.labelling.space.unconstrain(parameters) if parameters else draws.vector
        log_q = draws.log_q - self.labelling.log_count
        return replace(draws, parameters=parameters, vector=vector, log_q=log_q), found


def check_labels(labels: str) -> None:
    """Refuse labels of components that are not known.

    Raises
    ------
    InvalidArgumentError
        Unless they are canonical or symmetric.
    """
    known = get_args(Labels)
    if labels not in known:
        raise InvalidArgumentError(f"Expected labels to be one of {list(known)}; got {labels!r}.")


def _permute(
    drawn: _IndicatorDraws,
    spec: IndicatorSpec,
    order: CanonicalOrder,
    permutations: Tensor,
    best: int,
) -> _IndicatorDraws:
    """Permute an indicator: component ``permutations[s, j]`` of draw s goes to place j."""
    lowest, dtype = spec.support[0], drawn.values.dtype
    places = permutations.argsort(dim=1).to(drawn.values.device)
    values = permute_codes(drawn.values.long() - lowest, permutations) + lowest
    viterbi = drawn.viterbi
    if viterbi is not None:
        viterbi = (places[best][viterbi.long() - lowest] + lowest).to(dtype)
    return replace(
        drawn,
        values=values.to(dtype),
        probabilities=_average(drawn.probabilities, order),
        filtering=None if drawn.filtering is None else _average(drawn.filtering, order),
        viterbi=viterbi,
    )


def _average(table: Tensor, order: CanonicalOrder) -> Tensor:
    """Average probabilities (*units, K) over all labellings."""
    averaged = table.clone()
    for block in order.exchangeable.blocks:
        members = list(block)
        averaged[..., members] = table[..., members].mean(-1, keepdim=True)
    return averaged
