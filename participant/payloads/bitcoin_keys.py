"""Which scripts of a transaction pay to keys of the account, as far as the request and the PSBT name these keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from participant.payloads import psbt as container
from participant.payloads.addresses import p2pkh_script, p2sh_script, p2tr_script, p2wpkh_script
from participant.payloads.bitcoin_transaction import Cursor
from participant.payloads.decoded import Keys, Path
from participant.payloads.errors import PayloadError
from participant.payloads.psbt import Map, get, keyed
from tss.frost.bip340 import MERKLE_ROOT_BYTES, NO_SCRIPTS

MAX_DERIVATIONS: Final = 2000
"""Paths of one PSBT that are looked at; each costs curve operations."""
MAX_PATH: Final = 16
HARDENED: Final = 1 << 31
P2PKH, P2WPKH, P2SH_P2WPKH, P2TR = "P2PKH", "P2WPKH", "P2SH-P2WPKH", "P2TR"


@dataclass(frozen=True)
class Ours:
    """A key of ours and the form of the script that pays to it."""

    path: Path
    public_key: bytes
    form: str
    merkle_root: bytes | None = None
    """Of P2TR: of the output's scripts, 32 bytes, or NO_SCRIPTS."""


class Finder:
    """Tells the account's scripts from others'."""

    def __init__(self, keys: Keys, path: Path) -> None:
        """`path`: of the key that the request names."""
        self._keys = keys
        self._by_x: dict[bytes, Ours] = {}
        self._named: dict[Path, bytes] = {path: keys.public_key(path)}
        self._scripts: dict[bytes, Ours] = {}
        self._looked = 0
        self._learn(path)

    def _learn(self, path: Path) -> None:
        key = self._named[path]
        self._scripts.setdefault(p2pkh_script(key), Ours(path, key, P2PKH))
        self._scripts.setdefault(p2wpkh_script(key), Ours(path, key, P2WPKH))
        self._scripts.setdefault(p2sh_script(p2wpkh_script(key)), Ours(path, key, P2SH_P2WPKH))
        self._by_x.setdefault(key[1:], Ours(path, key, P2TR, NO_SCRIPTS))

    def know_taproot(self) -> None:
        """Find Taproot outputs of our keys too; each key costs curve operations, and most PSBTs have none."""
        for ours in self._by_x.values():
            try:
                self._scripts.setdefault(p2tr_script(ours.public_key), ours)
            except PayloadError:
                # Whoever checks an answer has no key at paths that the answer does not name, and no point stands there.
                continue

    def find(self, script: bytes, fields: Map) -> Ours | None:
        """The key of ours that unlocks `script`, which an input with these fields spends. Raises PayloadError."""
        return self._scripts.get(script) or self._with_scripts(script, fields)

    def _with_scripts(self, script: bytes, fields: Map) -> Ours | None:
        """A Taproot output of a key of ours and of scripts, as the input says (BIP-371): here the key unlocks it."""
        internal, root = (
            get(fields, kind) for kind in (container.IN_TAP_INTERNAL_KEY, container.IN_TAP_MERKLE_ROOT)
        )
        ours = None if internal is None else self._by_x.get(internal)
        if ours is None or root is None or len(root) != MERKLE_ROOT_BYTES:
            return None
        return replace(ours, merkle_root=root) if script == p2tr_script(ours.public_key, root) else None

    def path_of(self, script: bytes) -> Path | None:
        """The path of our key that `script` pays to."""
        ours = self._scripts.get(script)
        return None if ours is None else ours.path

    def take_in(self, fields: Map, kind: int, where: str) -> bool:
        """Take in the derivations that are ours; whether there was one. A Taproot output's may name the internal key alone.

        What stands before the last hardened index led to the account's root in another wallet, so the rest is the path
        from here. The fingerprint is not asked: only the derived key itself proves anything.
        """
        found = False
        x_only = kind in (container.IN_TAP_BIP32_DERIVATION, container.OUT_TAP_BIP32_DERIVATION)
        for public_key, origin in keyed(fields, kind).items():
            value = _of_internal_key(origin, where) if x_only else origin
            if value is None:
                continue
            if not value or len(value) % 4:
                raise PayloadError(f"{where}: a BIP-32 derivation of {len(value)} bytes")
            indices = [int.from_bytes(value[i : i + 4], "little") for i in range(4, len(value), 4)]
            start = max((i + 1 for i, index in enumerate(indices) if index >= HARDENED), default=0)
            path = tuple(indices[start:])
            if len(public_key) != (32 if x_only else 33) or len(path) > MAX_PATH:
                continue
            if path not in self._named:
                self._looked += 1
                if self._looked > MAX_DERIVATIONS:
                    raise PayloadError(
                        f"the PSBT names more than {MAX_DERIVATIONS} derivations", "split the payment"
                    )
                self._named[path] = self._keys.public_key(path)
            if self._named[path][x_only:] == public_key:
                self._learn(path)
                found = True
        return found


def _of_internal_key(origin: bytes, where: str) -> bytes | None:
    """The fingerprint and path in a Taproot derivation; None for a key that stands in scripts. Raises PayloadError."""
    cursor = Cursor(origin, f"{where}'s Taproot derivation")
    if cursor.count(MERKLE_ROOT_BYTES):
        return None
    return cursor.take(cursor.left)
