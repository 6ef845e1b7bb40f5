"""The version that is installed."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the wheel, or "0+source" when the packages are run from a source tree."""
    try:
        return metadata.version("wallet-mpc")
    except metadata.PackageNotFoundError:
        return "0+source"
