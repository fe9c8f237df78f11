"""From draws of a network to the right answer: the ladder and its rungs."""

__all__: list[str] = []
