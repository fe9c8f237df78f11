"""Simulated data sets in the form that networks are trained on."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.discrete import MarkovChain, state_probabilities
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.units import Units
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["chain_without_data", "codes_of", "lay_out_batch"]


def lay_out_batch(
    simulator: Simulator,
    layout: DataLayout,
    space: ParameterSpace,
    drawn: tuple[Mapping[str, Tensor], Frames, Mapping[int, Tensor]],
) -> Batch:
    """Lay out parameters (B, *shape), data sets in frames, and codes (B, m R, J) by table."""
    parameters, frames, codes = drawn
    vector = space.unconstrain(parameters).expand(len(frames), -1)
    vector = space.from_edge(vector) if space.size else vector
    features = space.features(vector, parameters)
    log_states = {
        i: _log_states(simulator, table, parameters, codes[i].shape[1])
        for i, table in enumerate(layout.tables)
        if i in codes and table.is_sequence and table.indicator.order
    }
    scores = features[:, : space.size].float()
    return _compact(layout, Batch(layout.units(frames), scores, features, codes, log_states))


def codes_of(table: UnitTable, indicator: Tensor) -> Tensor:
    """Return codes (B, m R, J) from 0 to K - 1 of values (B, m, *units) of a table's indicator.

    Raises
    ------
    UnsupportedModelError
        If a value had not occurred when the model was read.
    """
    codes = indicator - table.indicator.support[0]
    if table.indicator.is_drawn_only:
        _require_known(table, codes)
    num_datasets, num_frames = codes.shape[:2]
    rows = 1 if not table.indicator.units else table.indicator.units[0]
    if table.grouped or table.is_sequence:
        return codes.reshape(num_datasets, -1, 1)
    return codes.reshape(num_datasets, num_frames * rows, -1)


def chain_without_data(
    simulator: Simulator, table: UnitTable, parameters: Mapping[str, Tensor], num_times: int
) -> MarkovChain:
    """Return the chains (B, *chains) of a table's indicator, given parameters alone."""
    distribution = simulator.indicator_distribution(table.indicator.name)
    values = [x.double() for x in parameters.values()]
    initial, transition = distribution.log_initial(values), distribution.log_transition(values)
    shape = (*table.indicator.units[:-1], num_times, table.indicator.num_components)
    nothing = torch.zeros((), dtype=initial.dtype, device=initial.device)
    return MarkovChain(
        initial,
        transition,
        nothing.expand(len(initial), *shape),
        distribution.order,
        time_varying=distribution.time_varying,
    )


def _log_states(
    simulator: Simulator, table: UnitTable, parameters: Mapping[str, Tensor], num_rows: int
) -> Tensor:
    """Return log p(z_t = k given θ) (B, C T, K) of time points, without data."""
    num_times = num_rows // table.num_sequences
    chain = chain_without_data(simulator, table, parameters, num_times)
    return state_probabilities(chain).flatten(1, -2).float()


def _require_known(table: UnitTable, codes: Tensor) -> None:
    """Refuse states that had not occurred when the model was read."""
    indicator = table.indicator
    outside = (codes < 0) | (codes >= indicator.num_components)
    if bool(outside.any()):
        value = int(codes[outside][0]) + indicator.support[0]
        raise UnsupportedModelError(
            f"Expected {indicator.name!r} to take the values {list(indicator.support)}, which are "
            f"those of the simulations by which the model was read; got {value}, which is too rare "
            "to be learned. Give it a larger probability, or leave it out of what `random=` "
            f"returns:\n\n    states = np.clip(states, {indicator.support[0]}, "
            f"{indicator.support[-1]})"
        )


def _compact(layout: DataLayout, batch: Batch) -> Batch:
    """Leave out rows that no data set uses."""
    units, codes = list(batch.units), dict(batch.codes)
    for i, table in enumerate(layout.tables):
        resized = table.resized and not table.is_sequence
        if resized and table.sizes[1] < units[i].mask.shape[1]:
            rows = (~units[i].mask).to(torch.int8).argsort(dim=1, stable=True)
            rows = rows[:, : table.sizes[1]]
            units[i] = Units(units[i].values, units[i].mask).rows(rows)
            if i in codes:
                index = rows.unsqueeze(-1).expand(*rows.shape, codes[i].shape[-1])
                codes[i] = codes[i].gather(1, index)
    return replace(batch, units=tuple(units), codes=codes)
