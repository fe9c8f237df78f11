"""Indicators that hang together, read as one of all their combinations."""

__all__: list[str] = []
