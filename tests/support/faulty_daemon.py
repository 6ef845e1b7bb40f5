"""testing_daemon with something wrong around it: `python faulty_daemon.py CONFIG`, with WALLET_MPC_TEST_FAULTS.

That names a JSON file of what is wrong, which is read again at SIGUSR1; each reading is told by a line "faults N".

    clock SECONDS     the wall clock is so far off
    random false      the system gives no random bytes
    proto TEXT        this process is of another release, which speaks that protocol (from the start only)
    plaintexts PATH   what it seals to a peer also goes to that file, a line of hexadecimal digits each (from the start only)
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Final

FAULTS: Final = "WALLET_MPC_TEST_FAULTS"
SAID: Final = "faults"


class ShiftedClock:
    """time.time of a machine whose clock is wrong. What is monotonic is right."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._time = time.time

    def __call__(self) -> float:
        return self._time() + self.offset


class RandomSource:
    """os.urandom, until it fails."""

    def __init__(self) -> None:
        self.works = True
        self._urandom = os.urandom

    def __call__(self, size: int) -> bytes:
        if not self.works:
            raise OSError(5, "Input/output error", "getrandom")
        return self._urandom(size)


def inject(path: Path) -> None:
    """Put them in place. Before anything of ours is imported: defaults of arguments are bound then."""
    clock, source = ShiftedClock(), RandomSource()
    time.time, os.urandom = clock, source
    readings = itertools.count(1)

    def read(*_: object) -> None:
        faults = json.loads(path.read_text())
        clock.offset = faults.get("clock", 0.0)
        source.works = faults.get("random", True)
        print(SAID, next(readings), flush=True)  # noqa: T201 - the answer to the signal

    signal.signal(signal.SIGUSR1, read)
    read()
    faults = json.loads(path.read_text())
    if "proto" in faults:
        speak(faults["proto"])
    if "plaintexts" in faults:
        copy_plaintexts(Path(faults["plaintexts"]))


def speak(proto: str) -> None:
    """Be of a release with another protocol."""
    import tss_testing

    tss_testing.SMALL_SECP = dataclasses.replace(tss_testing.SMALL_SECP, proto=proto)


def copy_plaintexts(path: Path) -> None:
    """Write down what is sealed."""
    import tss.speaker
    from tss.envelope import Signed

    seal = tss.speaker.seal
    file = path.open("a", buffering=1)

    def spied(signed: Signed, epk: bytes) -> bytes:
        file.write(signed.body.payload.hex() + "\n")
        return seal(signed, epk)

    tss.speaker.seal = spied


if __name__ == "__main__":
    inject(Path(os.environ[FAULTS]))
    daemon = Path(__file__).with_name("testing_daemon.py")
    sys.argv[0] = str(daemon)
    runpy.run_path(str(daemon), run_name="__main__")
