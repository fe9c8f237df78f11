"""Draws of parameters and of indicators for a data set."""

__all__: list[str] = []
