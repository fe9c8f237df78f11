"""PyMC to torch: reading the model, its complete-data form, batched simulation and density."""

__all__: list[str] = []
