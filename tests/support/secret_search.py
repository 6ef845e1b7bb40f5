"""Looks for secrets in files, records and whole memories, in every form in which they may stand there."""

from __future__ import annotations

import base64
import itertools
import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tss_testing import SMALL_SECP

from participant.identity import SEED_BYTES
from participant.sealing import KeyFileWrapper
from participant.store import Store
from tss.records import AuxSet, KeyShare

PIECE = 1 << 24
OVERLAP = 4096
DIGIT_BITS = 30


@dataclass(frozen=True)
class Secret:
    name: str
    value: int

    def spellings(self) -> Iterator[bytes]:
        """As bytes of either order (a GMP number is little-endian), as text, as the digits of a Python integer."""
        size = (self.value.bit_length() + 7) // 8
        raw = self.value.to_bytes(size, "big")
        yield raw
        yield self.value.to_bytes(size, "little")
        yield f"{self.value:x}".encode()
        yield f"{self.value:X}".encode()
        yield str(self.value).encode()
        digits, rest = b"", self.value
        while rest:
            digits += (rest & (1 << DIGIT_BITS) - 1).to_bytes(4, "little")
            rest >>= DIGIT_BITS
        yield digits

    def in_base64(self) -> Iterator[bytes]:
        """What stands of its bytes in a base64 text that they are in."""
        for raw in itertools.islice(self.spellings(), 2):
            yield from base64_forms(raw)


def base64_forms(raw: bytes) -> Iterator[bytes]:
    """What of `raw` stands in the base64 text of anything that holds it: three alignments, two alphabets."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + raw)
        # The first and the last characters also depend on what is before and behind.
        inner = text[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        yield inner
        if inner != (other := inner.translate(bytes.maketrans(b"+/", b"-_"))):
            yield other


def integers_in(payload: bytes, least_bits: int) -> Iterator[int]:
    """The integers of an ENC value that are large enough to be looked for."""
    # A tag of 3, four bytes of length, a sign byte, the magnitude (protocol.md 0.5).
    for at in range(len(payload) - 6):
        if payload[at] == 3 and payload[at + 5] in (0, 1):
            size = int.from_bytes(payload[at + 1 : at + 5], "big")
            magnitude = payload[at + 6 : at + 5 + size]
            if len(magnitude) == size - 1 and int.from_bytes(magnitude, "big").bit_length() >= least_bits:
                yield int.from_bytes(magnitude, "big")


def plaintexts_of(path: Path, count: int, seed: object) -> list[Secret]:
    """Numbers out of what a faulty_daemon has sealed: those of the first messages, which are shares, and some of all others."""
    lines = [bytes.fromhex(line) for line in path.read_text().split()]
    assert lines, "nothing was sealed"
    numbers = [number for line in lines for number in integers_in(line, 160)]
    first = [number for line in lines[:4] for number in integers_in(line, 160)]
    chosen = {*first[:count], *random.Random(repr(seed)).choices(numbers, k=count)}
    return [Secret(f"plaintext of {path.name}", number) for number in sorted(chosen)]


def secrets_of(store_directory: Path, copy: Path, account_id: str = "main") -> list[Secret]:
    """What only this node may know, from a copy of its store."""
    shutil.copytree(store_directory, copy)
    with Store.open(copy / "store.db", KeyFileWrapper.from_file(copy / "seal.key")) as store:
        record = store.accounts.account(account_id)
        assert record.aux_id is not None
        share = KeyShare.from_bytes(SMALL_SECP, store.accounts.share(account_id))
        aux = AuxSet.from_bytes(SMALL_SECP, store.accounts.aux_set(record.aux_id))
        identity = store.identity()
        access_seed = identity.to_bytes()[-SEED_BYTES:]
    found = [
        Secret("share", int(share.x)),
        Secret("Paillier p", int(aux.paillier.p)),
        Secret("Paillier q", int(aux.paillier.q_)),
        Secret("gateway-access seed", int.from_bytes(access_seed, "big")),
    ]
    if aux.pedersen is not None:
        found += [Secret("Pedersen p", int(aux.pedersen.p)), Secret("Pedersen lambda", int(aux.pedersen.lam))]
    return found


def memory(pid: int) -> Iterator[bytes]:
    """All that a core image would hold, in pieces that overlap."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as image:
        for line in maps:
            bounds, permissions, *_ = line.split()
            if not permissions.startswith("rw"):
                continue
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            while start < end:
                image.seek(start)
                try:
                    piece = image.read(min(PIECE, end - start))
                except OSError:
                    break
                if not piece:
                    break
                yield piece
                # What lies across two pieces is in the next one.
                start += len(piece) if start + len(piece) >= end else len(piece) - OVERLAP


def found_in(pieces: Iterable[bytes], secrets: Iterable[Secret], *, base64_too: bool = False) -> set[str]:
    """The names of the secrets that are there in any form."""
    wanted = [(secret.name, spelling) for secret in secrets for spelling in secret.spellings()]
    if base64_too:
        wanted += [(secret.name, form) for secret in secrets for form in secret.in_base64()]
    search = _Search(wanted)
    return {name for piece in pieces for name in search.found_in(piece)}


class _Search:
    """For many texts at once: wherever two pairs of bytes begin one of them, it is compared."""

    def __init__(self, wanted: Iterable[tuple[str, bytes]]) -> None:
        self._first = np.zeros(1 << 16, bool)
        self._second = np.zeros(1 << 16, bool)
        self._by_head: dict[bytes, list[tuple[str, bytes]]] = defaultdict(list)
        for name, text in wanted:
            self._first[int.from_bytes(text[:2], "little")] = True
            self._second[int.from_bytes(text[2:4], "little")] = True
            self._by_head[text[:4]].append((name, text))

    def found_in(self, piece: bytes) -> Iterator[str]:
        octets = np.frombuffer(piece, np.uint8).astype(np.uint16)
        pairs = octets[:-1] | octets[1:] << 8
        for position in np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]]).tolist():
            for name, text in self._by_head.get(piece[position : position + 4], ()):
                if piece.startswith(text, position):
                    yield name


def files_of(directory: Path) -> Iterator[bytes]:
    """The contents of all files."""
    for path in directory.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
