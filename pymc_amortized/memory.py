"""How much may stand in memory at once, and how much work something is: both in numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from torch.overrides import TorchFunctionMode

__all__ = ["MEMORY", "MemoryBudget", "count_numbers"]


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """How many numbers are worked on at once.

    Attributes
    ----------
    entries : int
        Numbers of one intermediate result, of 8 bytes each; some five of them are alive at a time.
    cached : int
        Numbers that a thread of a processor works on fastest, for they stay in its cache.

    Examples
    --------
    >>> MemoryBudget().at_once(1_000_000)
    8
    """

    entries: int = 2**23
    cached: int = 250_000

    def at_once(self, each: int) -> int:
        """Return how many things of so many numbers each are worked on at once, at least one."""
        return max(1, self.entries // max(1, each))

    def on(self, device: torch.device) -> int:
        """Return how many numbers are worked on at once on a device."""
        if device.type != "cpu":
            return self.entries
        return self.cached * torch.get_num_threads()


MEMORY = MemoryBudget()
"""What is worked on at once unless somebody says otherwise."""


def count_numbers(work: Callable[[], Any]) -> int:
    """Return how many numbers all operations of some work compute: about one a nanosecond.

    The same on every machine, which seconds are not.

    Examples
    --------
    >>> x = torch.zeros(1000)
    >>> count_numbers(lambda: (x + 1).exp())
    2000
    """
    with _NumberCounter() as counter:
        work()
    return counter.numbers


class _NumberCounter(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        several = result if isinstance(result, tuple | list) else (result,)
        # What is only repeated by an expanded view is not computed.
        self.numbers += sum(
            x.numel() for x in several if isinstance(x, torch.Tensor) and 0 not in x.stride()
        )
        return result
