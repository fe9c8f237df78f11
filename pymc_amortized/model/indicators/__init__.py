"""The distribution of indicators given parameters: one class for each kind."""

__all__: list[str] = []
