"""``pm.sample(method="amortized")``, and what is built on it."""

__all__: list[str] = []
