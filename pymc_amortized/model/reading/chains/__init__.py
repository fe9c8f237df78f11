"""Markov chains and other states that a model draws one after the other, read from its graph."""

__all__: list[str] = []
