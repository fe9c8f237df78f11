"""Log densities of a model, batched in torch, or as a graph for NUTS."""

__all__: list[str] = []
