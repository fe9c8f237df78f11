"""What calibration, recovery and agreement are measured by."""

__all__: list[str] = []
