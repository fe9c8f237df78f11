"""Data sets in frames, some of them, and all together."""

import pytest
import torch

from pymc_amortized.data.frames import Frames, stack_frames


def frames(num_datasets, num_frames, seed, num_times=None):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_datasets, num_frames, 4)
    times = None
    if num_times is not None:
        times = torch.arange(num_times).expand(num_datasets, -1)
    return Frames(
        {"y": torch.randn(shape, generator=generator)},
        {"x": torch.randn(shape, generator=generator)},
        (torch.rand(shape, generator=generator) < 0.7,),
        times,
    )


def test_data_sets_that_are_put_together_can_be_told_apart_again():
    parts = [frames(2, 1, 0), frames(1, 3, 1), frames(3, 2, 2)]
    whole = stack_frames(parts)
    assert len(whole) == 6
    assert whole.num_frames == 3
    start = 0
    for part in parts:
        again = whole.select(slice(start, start + len(part)))
        start += len(part)
        for name in ("observations", "covariates"):
            for key, values in getattr(part, name).items():
                assert torch.equal(getattr(again, name)[key][:, : part.num_frames], values)
        assert torch.equal(again.selected[0][:, : part.num_frames], part.selected[0])


def test_frames_that_are_filled_up_are_finite_and_not_in_use():
    whole = stack_frames([frames(2, 1, 0), frames(1, 3, 1)])
    assert not bool(whole.selected[0][:2, 1:].any())
    assert bool(torch.isfinite(whole.observations["y"]).all())
    torch.testing.assert_close(
        whole.observations["y"][:2, 2], whole.observations["y"][:2, 0], rtol=0, atol=0
    )


def test_shorter_sequences_end_earlier():
    whole = stack_frames([frames(1, 1, 0, num_times=3), frames(1, 1, 1, num_times=4)])
    assert whole.times.tolist() == [[0, 1, 2, -1], [0, 1, 2, 3]]


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([3, 0])])
def test_some_data_sets(index):
    whole = frames(4, 2, 0, num_times=5)
    some = whole.select(index).to(torch.device("cpu"))
    assert len(some) == 2
    assert torch.equal(some.observations["y"], whole.observations["y"][index])
    assert torch.equal(some.times, whole.times[index])


def test_a_data_set_by_itself_is_always_the_same_object():
    """What is known of a data set is kept with it."""
    whole = Frames({"y": torch.arange(6.0).reshape(3, 1, 2)}, {}, (torch.ones(3, 1, 2).bool(),))
    second = whole.select(torch.tensor([1]))
    assert second is whole.select(slice(1, 2))
    assert second is whole.select(torch.tensor([False, True, False]))
    assert second is second.select(torch.tensor([0]))
    assert torch.equal(second.observations["y"], torch.tensor([[[2.0, 3.0]]]))
    assert whole.select(slice(0, 0)).observations["y"].shape == (0, 1, 2)


def test_data_sets_that_are_put_together_stay_the_same_objects():
    parts = [frames(1, 1, seed) for seed in range(3)]
    whole = stack_frames(parts).to(torch.device("cpu"))
    for b, part in enumerate(parts):
        assert whole.select(torch.tensor([b])) is part
        torch.testing.assert_close(whole.observations["y"][b : b + 1], part.observations["y"])
    # Those that are filled up are others, and so are several that were put together before.
    mixed = stack_frames([parts[0], frames(1, 2, 7)])
    assert mixed.select(torch.tensor([0])).num_frames == 2
    assert len(stack_frames([frames(2, 1, 8), parts[0]]).one_by_one) == 3
