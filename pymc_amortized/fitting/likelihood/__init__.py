"""Densities of distributions that can only be drawn from, learned from simulations."""
