"""Labels of the components of any posterior."""

__all__: list[str] = []
