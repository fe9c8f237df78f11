"""Training of networks on simulations, and the files that they are kept in."""

__all__: list[str] = []
