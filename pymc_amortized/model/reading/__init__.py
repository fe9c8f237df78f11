"""Reading a PyMC model: its complete-data form, units, covariates and indicators."""

__all__: list[str] = []
