"""What a permutation of components acts on."""

import json

from dataclasses import asdict

import pytest
import torch

from pymc_amortized.symmetry.component_parts import ComponentParts

PARTS = ComponentParts(
    axes=(("w", 0), ("P", 0), ("P", 1)), variables=(("a", "b", "c"), ("d", None, "e"))
)


@pytest.fixture
def draws():
    generator = torch.Generator().manual_seed(1)
    shapes = {"w": (3,), "P": (3, 3), "a": (2,), "b": (2,), "c": (2,), "d": (), "e": ()}
    return {n: torch.randn(50, *shape, generator=generator) for n, shape in shapes.items()}


def test_all_parts_are_permuted_draw_by_draw(draws):
    order = [2, 1, 0]
    permutations = torch.tensor([order] * 25 + [[0, 1, 2]] * 25)
    moved = PARTS.permuted(draws, permutations)
    torch.testing.assert_close(moved["w"][:25], draws["w"][:25, order])
    torch.testing.assert_close(moved["P"][:25], draws["P"][:25][:, order][:, :, order])
    for name, partner in (("a", "c"), ("b", "b"), ("c", "a"), ("d", "e"), ("e", "d")):
        torch.testing.assert_close(moved[name][:25], draws[partner][:25])
    for name, x in draws.items():
        torch.testing.assert_close(moved[name][25:], x[25:])


def test_permutations_are_undone(draws):
    parts = ComponentParts(PARTS.axes, PARTS.variables[:1])
    permutations = torch.rand(50, 3, generator=torch.Generator().manual_seed(2)).argsort(1)
    back = parts.permuted(parts.permuted(draws, permutations), permutations.argsort(1))
    for name, x in draws.items():
        torch.testing.assert_close(back[name], x)


def test_mirrored_values():
    parts = ComponentParts(mirrored=(("w", 1.0),))
    moved = parts.permuted({"w": torch.tensor([0.2, 0.2])}, torch.tensor([[1, 0], [0, 1]]))
    torch.testing.assert_close(moved["w"], torch.tensor([0.8, 0.2]))


def test_labels_without_the_same_parameters():
    assert PARTS.can_exchange(0, 2)
    assert not PARTS.can_exchange(0, 1)


def test_parts_are_kept_in_a_file():
    parts = ComponentParts.joined([PARTS, ComponentParts(mirrored=(("q", 0.0),))])
    assert ComponentParts.from_record(json.loads(json.dumps(asdict(parts)))) == parts
    assert ComponentParts.from_record({"axes": [["w", 0]]}) == ComponentParts((("w", 0),))
