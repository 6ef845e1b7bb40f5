"""Hedged randomness (security.md E1): what one use draws depends on the source, on a secret, and on what the use is for.

A machine that was cloned, or put back to an earlier state, may get the same bytes of its source again. What is drawn here
for another session, peer, item or received message is another all the same, so that no mask answers two challenges; for
the same ones it is the same, and so is all that is made of it. RFC 9591 makes its nonces in this way.
"""

from __future__ import annotations

from typing import Final

from tss.encoding import Value
from tss.rand import Rng
from tss.transcript import hash_commit, stream

FRESH_BYTES: Final = 32
"""Taken from the source for one use."""

_DOMAIN: Final = "wallet-mpc/v1"


def hedged(rng: Rng, secret: int, use: list[Value]) -> Rng:
    """A stream for one use, for one thread: from FRESH_BYTES of `rng`, a lasting secret, and `use`.

    `use` lists everything that the answers to be masked may depend on; two uses that differ in it share nothing.
    """
    return stream(hash_commit(_DOMAIN, "hedge", rng(FRESH_BYTES), secret, use))
