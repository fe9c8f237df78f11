"""Draws of states whose probabilities are not known, by the network that has learned paths."""

import math

import torch

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.inference.amortized import Inference
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.independent_units import IndicatorDraws
from pymc_amortized.model.spec import IndicatorSpec

__all__ = ["draw_learned_paths"]

_MAX_ROWS = 262_144


@torch.no_grad()
def draw_learned_paths(
    inference: Inference,
    indicator: IndicatorSpec,
    dataset: Dataset,
    draws: Draws,
    generator: torch.Generator,
) -> IndicatorDraws:
    """Draw a joint path for each draw of the parameters, and average probabilities of states.

    Smoothing is the average over paths of the probabilities of their steps, which is less noisy
    than the share of paths in a state.

    Parameters
    ----------
    inference : Inference
        Whose network answers.
    indicator : IndicatorSpec
        States that the model can draw only.
    dataset : Dataset
        The data.
    draws : Draws
        S draws of the parameters.
    generator : torch.Generator
        Of the randomness.
    """
    table = inference.layout.table_of(indicator.name)
    frames = dataset.frames.to(inference.device)
    units = inference.estimator.scaled(inference.layout.units(frames))[table]
    features = inference.space.features(draws.vector, draws.parameters)
    num_draws = draws.log_q.shape[0]
    paths, filtering, smoothing = [], 0.0, 0.0
    for part in features.expand(num_draws, -1).split(max(1, _MAX_ROWS // units.mask.shape[1])):
        repeated = units.repeat(len(part))
        codes, probabilities = inference.estimator.sample_paths(table, repeated, part, generator)
        log_filtering = inference.estimator.filter_states(table, repeated, part)
        paths.append(codes.to(torch.int16))
        smoothing = smoothing + probabilities.double().sum(0)
        filtering = filtering + log_filtering.double().exp().sum(0)
    shape = (*indicator.units, indicator.num_components)
    return IndicatorDraws(
        torch.cat(paths).long().reshape(-1, *indicator.units) + indicator.support[0],
        (smoothing / num_draws).reshape(shape),
        math.nan,
        filtering=(filtering / num_draws).reshape(shape),
    )
