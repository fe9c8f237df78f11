"""Indicators given data and parameters, one module for each kind."""

__all__: list[str] = []
