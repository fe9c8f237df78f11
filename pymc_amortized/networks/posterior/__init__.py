"""Networks for the posterior of the parameters given a summary."""

__all__: list[str] = []
