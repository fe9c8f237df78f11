"""Networks that compress a data set of any size into a vector."""

__all__: list[str] = []
