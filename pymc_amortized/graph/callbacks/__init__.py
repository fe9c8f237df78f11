"""Random variables that a Python function draws: called once for many data sets where it can be."""

__all__: list[str] = []
