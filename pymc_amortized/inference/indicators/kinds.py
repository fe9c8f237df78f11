"""Which class answers for which kind of indicator."""

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.inference.indicators.conditional import AbstractConditional
from pymc_amortized.inference.indicators.independent import IndependentConditional
from pymc_amortized.inference.indicators.markov import MarkovConditional
from pymc_amortized.inference.indicators.simulated import SimulatedConditional
from pymc_amortized.inference.problem import Problem
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.networks.estimator import Estimator

__all__ = ["condition_on_data"]

_KINDS: dict[str, type[AbstractConditional]] = {
    "independent": IndependentConditional,
    "markov": MarkovConditional,
    "simulated": SimulatedConditional,
}


def condition_on_data(
    problem: Problem, estimator: Estimator | None, indicator: IndicatorSpec, dataset: Dataset
) -> AbstractConditional:
    """Return the distribution of an indicator given data, to be asked under draws of parameters.

    Parameters
    ----------
    problem : Problem
        The model.
    estimator : Estimator or None
        Networks; None where there is a density alone.
    indicator : IndicatorSpec
        Which indicator.
    dataset : Dataset
        The data.
    """
    return _KINDS[indicator.kind](problem, estimator, indicator, dataset)
