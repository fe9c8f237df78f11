"""A user's data, checked and laid out as tensors."""

__all__: list[str] = []
