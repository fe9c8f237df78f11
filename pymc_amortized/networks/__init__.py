"""Networks: summaries of data sets, posteriors of parameters, probabilities of indicators."""

__all__: list[str] = []
