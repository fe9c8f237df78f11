"""Importance sampling of any target: weights, pools of proposals, adaptive rounds."""

__all__: list[str] = []
