"""Networks for the indicators given data and parameters."""

__all__: list[str] = []
