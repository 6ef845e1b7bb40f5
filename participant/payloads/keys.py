"""The public keys of an account, derived from its root."""

from __future__ import annotations

from dataclasses import dataclass, field

from participant.payloads.decoded import Path
from tss import hd
from tss.errors import CallerError
from tss.groups import Point


@dataclass
class AccountKeys:
    """`Keys` over the account's public key and chain code (32 bytes, of Ed25519 none). Children are kept: inputs of a PSBT repeat them."""

    X: Point
    chain_code: bytes = field(repr=False)
    _known: dict[Path, bytes] = field(default_factory=dict, repr=False)

    def public_key(self, path: Path) -> bytes:
        """Compressed, 33 bytes; 32 of Ed25519, which has the root alone.

        Raises HardenedPath and CallerError as `hd.derive` does, CallerError too for a path where there is no chain code.
        """
        if not self.chain_code:
            if path:
                raise CallerError(
                    f"keys of {self.X.group.name} have no public derivation: leave the path out"
                )
            return self.X.to_bytes()
        if path not in self._known:
            self._known[path] = hd.derive(self.X, self.chain_code, path).X_c.to_bytes()
        return self._known[path]
