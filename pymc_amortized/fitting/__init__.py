"""What answers come from: networks that are trained, or found again, or the prior at first."""

__all__: list[str] = []
