"""All that is known of one data set: draws of parameters and indicators, in some labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import InvalidDataError
from pymc_amortized.inference.amortized import Inference
from pymc_amortized.inference.correction.ladder import Corrector
from pymc_amortized.inference.draws import Correction, Draws
from pymc_amortized.inference.indicators.independent_units import IndicatorDraws
from pymc_amortized.inference.indicators.markov_states import draw_indicator
from pymc_amortized.inference.symmetrize import Labels, symmetric
from pymc_amortized.rng import RandomSeed, torch_generator

__all__ = ["Answer", "Answering"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """All that is known of one data set.

    Attributes
    ----------
    dataset : Dataset
        The data.
    draws : Draws
        Of the parameters.
    indicators : dict of str to IndicatorDraws
        By name.
    chains : int
        Into how many chains the draws are divided.
    own_data : bool
        Whether the data are those of the model.
    """

    dataset: Dataset
    draws: Draws
    indicators: dict[str, IndicatorDraws]
    chains: int
    own_data: bool


class Answering:
    """Answers data sets one at a time.

    Parameters
    ----------
    inference : Inference
        The network and the model.

    Attributes
    ----------
    corrector : Corrector
        What draws parameters.
    """

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.corrector = Corrector(inference)

    def answer(
        self,
        data: Mapping[str, Any] | None,
        num_draws: int,
        chains: int,
        correction: Correction,
        random_seed: RandomSeed,
        labels: Labels = "canonical",
    ) -> Answer:
        """Draw parameters and indicators for a user's data; None stands for those of the model.

        Raises
        ------
        ObservationShapeError, InvalidDataError
            If the data cannot be answered.
        """
        inference = self.inference
        dataset = inference.read(data)
        generator = torch_generator(random_seed, inference.device)
        [draws] = self.corrector.draw([dataset], num_draws, chains, correction, generator)
        if isinstance(draws, InvalidDataError):
            raise draws
        spec = inference.simulator.spec
        indicators = {
            indicator.name: draw_indicator(inference, indicator, dataset, draws, generator)
            for indicator in spec.indicators
        }
        if labels == "symmetric":
            labelling = inference.simulator.labelling
            draws, indicators = symmetric(draws, indicators, labelling, spec, generator)
        return Answer(dataset, draws, indicators, chains, own_data=data is None)
