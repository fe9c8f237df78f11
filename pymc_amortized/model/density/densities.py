"""The log density of an observed variable as a graph: of each component, if it is a mixture."""

from collections.abc import Sequence

from pytensor.graph.basic import Variable

from pymc_amortized.graph.logp import component_logps, elementwise_logp
from pymc_amortized.model.complete_model import Observation

__all__ = ["densities_of"]


def densities_of(
    observation: Observation, value: Variable, given: Sequence[Variable]
) -> list[Variable]:
    """Return the log density of each entry.

    That of a mixture has a last axis of components where one distribution stands for all of them,
    and otherwise one graph for each.
    """
    if observation.components is None:
        return [elementwise_logp(observation.density_variable, value, given)]
    return component_logps(observation.components, value, given)
