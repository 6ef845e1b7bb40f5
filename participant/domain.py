"""The name that every hash and text of the node's own begins with, beside those of the protocols' suites."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "wallet-mpc/v1"
