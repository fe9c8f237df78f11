"""The version of the package, and of what a trained network depends on."""

from importlib.metadata import version

__all__ = ["__version__", "package_versions"]

__version__ = "0.5.0"

_DEPENDENCIES = ("pymc", "pytensor", "torch", "normflows")


def package_versions() -> dict[str, str]:
    """Return the versions of this package and of those that its networks depend on."""
    return {"pymc_amortized": __version__} | {name: version(name) for name in _DEPENDENCIES}
