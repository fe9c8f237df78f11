"""States without observations: paths that know what follows every state."""

import pytest
import torch

from pymc_amortized.discrete.simulate_states import follow


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 15, 16, 17, 100])
def test_blocks_lead_where_steps_do(num_steps):
    generator = torch.Generator().manual_seed(num_steps)
    start = torch.randint(4, (3,), generator=generator)
    following = torch.randint(4, (num_steps, 3, 4), generator=generator)
    expected = [start]
    for step in following:
        expected.append(step[torch.arange(3), expected[-1]])
    assert torch.equal(follow(start, following), torch.stack(expected))
