"""What a disk may hold after the power failed: of everything that was not synced, any part may be missing.

A recorded run (see shim.c) is replayed on a model of the disk. A file's content is what its last sync left; of what was
written since, each write may have reached the disk or not, in any order, and the last one in half. A name that was made
or removed is sure only when its directory was synced. The maps that SQLite shares in memory (-shm) are not kept: it
makes them anew when it is the first to open a file.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("4q")
_SHARED_MEMORY = "-shm"

Contents = dict[str, bytes]
"""Files by name."""


@dataclass(frozen=True)
class Operation:
    kind: str
    """One letter: see shim.c."""
    path: Path
    position: int
    data: bytes = field(repr=False)


def read_record(path: Path) -> list[Operation]:
    """What a run did, in order; `m` is what left, `a` the moment from which calls count."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        kind, position, path_size, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = data[at : at + path_size].decode()
        at += path_size
        found.append(Operation(chr(kind), Path(name), position, data[at : at + size]))
        at += size
    return found


class File:
    """One file: what is on the disk for certain, and the writes since."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.pending: list[Operation] = []

    def sync(self) -> None:
        self.durable, self.pending = applied(self.durable, self.pending), []

    def contents(self, dice: random.Random) -> Iterator[bytes]:
        """Nothing of the writes, all, each prefix, each but one, the last in half, some at random."""
        pending = self.pending
        yield self.durable
        if not pending:
            return
        yield applied(self.durable, pending)
        for number in range(1, len(pending)):
            yield applied(self.durable, pending[:number])
            yield applied(self.durable, pending[: number - 1] + pending[number:])
        last = pending[-1]
        half = Operation(last.kind, last.path, last.position, last.data[: len(last.data) // 2])
        yield applied(self.durable, [*pending[:-1], half])
        for _ in range(2):
            yield applied(self.durable, [one for one in pending if dice.random() < 0.5])


def applied(content: bytes, operations: Sequence[Operation]) -> bytes:
    found = bytearray(content)
    for operation in operations:
        if operation.kind == "t":
            del found[operation.position :]
            found.extend(bytes(operation.position - len(found)))
        else:
            found.extend(bytes(max(0, operation.position - len(found))))
            found[operation.position : operation.position + len(operation.data)] = operation.data
    return bytes(found)


class Disk:
    """Files and names; begins with what is in `base`, all of it durable."""

    def __init__(self, base: Path, directory: Path, seed: object) -> None:
        """`directory` is where the recorded run worked on its copy of `base`."""
        self._directory = directory
        self._dice = random.Random(repr(seed))
        self._names = {path.name: File(path.read_bytes()) for path in base.iterdir()}
        self._durable_names = dict(self._names)

    def do(self, operation: Operation) -> None:
        """One call of the run."""
        name, names = operation.path.name, self._names
        if operation.path == self._directory:
            self._durable_names = dict(names)
        elif operation.kind in "am" or name.endswith(_SHARED_MEMORY):
            pass
        elif operation.kind == "c":
            names[name] = File()
        elif operation.kind == "u":
            del names[name]
        elif operation.kind == "r":
            names[Path(operation.data.decode()).name] = names.pop(name)
        elif operation.kind == "s":
            names[name].sync()
        else:
            names[name].pending.append(operation)

    def after_power_loss(self) -> Iterator[Contents]:
        """Possible contents now, each once: one file varies while the others have all of their writes, or none."""
        seen: set[tuple[tuple[str, int], ...]] = set()
        for names in (self._durable_names, self._names):
            for varied in sorted(names):
                for others in (applied, lambda durable, _: durable):
                    fixed = {
                        name: others(file.durable, file.pending)
                        for name, file in names.items()
                        if name != varied
                    }
                    for content in names[varied].contents(self._dice):
                        found = {**fixed, varied: content}
                        key = tuple(sorted((name, hash(data)) for name, data in found.items()))
                        if key not in seen:
                            seen.add(key)
                            yield found


def write_down(contents: Contents, directory: Path) -> None:
    """Make `directory` hold exactly these files."""
    for old in directory.iterdir():
        old.unlink()
    for name, content in contents.items():
        path = directory / name
        path.touch(0o600)
        path.write_bytes(content)
