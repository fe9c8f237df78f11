"""Batched rules: how operations and distributions are evaluated for many data sets at once.

Rules register themselves when their module is imported, so that all of them are, here.
"""

from pymc_amortized.graph.rules import (
    control_flow,
    distributions,
    elementwise,
    indexing,
    linalg,
    markov_chain,
    multivariate,
    selected_component,
    tensor,
    truncation,
)

__all__: list[str] = []
