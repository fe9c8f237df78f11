"""Densities of distributions that can only be drawn from, learned from simulations."""

__all__: list[str] = []
