"""How much may stand in memory at once: one budget, in numbers, for all that is done in pieces."""

from dataclasses import dataclass

import torch

__all__ = ["MEMORY", "MemoryBudget"]


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
