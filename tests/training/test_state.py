"""Where training stands, written down and read back."""

import json
import math

import pytest
import torch

from pymc_amortized.training.state import TrainingState, restore, select_part, snapshot
from tests.training.short_runs import same

STATES = [
    TrainingState(horizon=10),
    TrainingState(3, 0.5, 10, 1.25, 1, -2.5, ({"step": 3, "seconds": 1.25, "posterior": -2.5},)),
]


@pytest.mark.parametrize("state", STATES, ids=["at first", "under way"])
def test_json_holds_it(state):
    assert TrainingState.from_record(json.loads(json.dumps(state.as_record()))) == state


def stepped(steps, network=None, optimizer=None):
    """Return a network and its optimizer after some more steps, each on its own data."""
    if network is None:
        torch.manual_seed(1)
        network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    for step in steps:
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    return network, optimizer


def copy(tensors):
    return {name: x.clone() for name, x in tensors.items()}


@pytest.mark.parametrize("forget", [(), ("optimizer.",)], ids=["all", "without the optimizer"])
def test_what_is_restored_goes_on(forget):
    network, optimizer = stepped(range(6))
    whole = copy(network.state_dict())
    network, optimizer = stepped(range(3))
    best = {"weight": torch.full((2, 3), math.pi)}
    kept = copy(snapshot(network, best, optimizer))
    kept = {name: x for name, x in kept.items() if not name.startswith(forget)}
    network, optimizer = stepped([])
    assert same(restore(kept, network, optimizer), best)
    stepped(range(3, 6), network, optimizer)
    assert same(network.state_dict(), whole) == (not forget)


def test_parts_by_their_prefix():
    x, y = torch.zeros(1), torch.ones(1)
    assert select_part({"now.a": x, "best.a": y, "now.b.c": y}, "now.") == {"a": x, "b.c": y}
    assert select_part({"now.a": x}, "best.") == {}
