"""Which components can be exchanged, and the order that they are put in."""

__all__: list[str] = []
