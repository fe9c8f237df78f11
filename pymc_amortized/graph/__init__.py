"""A PyTensor graph, evaluated for many data sets at once in torch."""

__all__: list[str] = []
