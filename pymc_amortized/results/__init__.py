"""ArviZ results, and what is said of them."""

__all__: list[str] = []
