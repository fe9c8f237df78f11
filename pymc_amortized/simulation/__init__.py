"""Batches of parameters, indicators and observations."""

__all__: list[str] = []
