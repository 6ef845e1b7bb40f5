"""The protocols whose checks can be judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tss.cggmp24 import keygen as keygen_protocol
from tss.judge import keygen
from tss.judge.reader import Reader

READERS: Final[Mapping[str, Reader]] = {
    keygen_protocol.KIND: keygen.READER,
}
"""By kind of session."""
