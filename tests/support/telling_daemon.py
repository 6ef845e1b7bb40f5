"""testing_daemon that tells a test its secrets, and can stop in the middle of a session: `python telling_daemon.py CONFIG`.

What it draws or opens goes, a line of "name hexadecimal" each, to the socket of WALLET_MPC_TEST_TELL (host:port), so that a
test can look for it where it must not be; none of it is written to a file. On SIGUSR1 it says "armed", and the next time
that it is about to post a message of the first label of WALLET_MPC_TEST_STOP_AT (two labels of testing_daemon) it stops
itself, as SIGSTOP does; on SIGUSR2 the same for the second.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

TELL: Final = "WALLET_MPC_TEST_TELL"
STOP_AT: Final = "WALLET_MPC_TEST_STOP_AT"
ARMED: Final = "armed"
LEAST_BITS: Final = 120
"""Shorter numbers may stand anywhere by chance."""

Told = Iterator[tuple[str, Any]]


class Teller:
    """The way to the test. From any thread."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._lock = threading.Lock()

    def __call__(self, name: str, value: Any) -> None:
        number = int.from_bytes(value, "big") if isinstance(value, bytes) else abs(int(value))
        if number.bit_length() >= LEAST_BITS:
            with self._lock:
                self._socket.sendall(f"{name} {number:x}\n".encode())


def tell_of(teller: Teller, cls: Any, secrets: Callable[[Any], Told]) -> None:
    """Tell of every instance once it is made."""
    made = cls.__init__

    def told(self: Any, *args: Any, **fields: Any) -> None:
        made(self, *args, **fields)
        for name, value in secrets(self):
            teller(name, value)

    cls.__init__ = told


def listen_in(teller: Teller) -> None:
    """Before the daemon begins."""
    from participant.identity import NodeKeys
    from participant.sealing import KeyFileWrapper
    from tss.cggmp24 import presign, presign_prove
    from tss.cggmp24.presignature import Presignature, Promise
    from tss.mailbox import SessionKey
    from tss.modexp import OwnModulus
    from tss.randomizers.shelf import Shelf
    from tss.records import KeyShare
    from tss.ring_pedersen import RingPedersenSecret
    from tss.vss import Polynomial
    from tss.zk.aff_g import Ahead

    def fields(*names: str, prefix: str = "") -> Callable[[Any], Told]:
        return lambda one: ((prefix + name, getattr(one, name)) for name in names)

    tell_of(teller, presign_prove.Item, fields("k", "gamma", "a", "b", "rho", "nu"))
    tell_of(teller, presign_prove.Mask, fields("y", "y_hat", "s", "r", "s_hat", "r_hat", prefix="mask "))
    tell_of(teller, Ahead, fields("alpha"))
    keep = Shelf._keep

    def told_keep(self: Any, pair: Any, era: int) -> None:
        teller("pooled", pair.value)
        keep(self, pair, era)

    Shelf._keep = told_keep  # type: ignore[method-assign]
    tell_of(teller, Presignature, lambda one: zip(("k~", "chi~"), one._secrets, strict=True))
    tell_of(teller, Promise, fields("e"))
    tell_of(teller, Polynomial, lambda one: (("coefficient", value) for value in one.coefficients))
    tell_of(teller, KeyShare, fields("x"))
    tell_of(teller, OwnModulus, lambda one: (("prime", one.p), ("prime", one.q_), ("phi", one.phi)))
    tell_of(teller, RingPedersenSecret, lambda one: (("lambda", one.lam),))
    tell_of(teller, NodeKeys, lambda one: (("identity seed", seed) for seed in one._seeds))
    tell_of(teller, SessionKey, lambda one: (("session key", one._secret.private_bytes_raw()),))
    unwrap = KeyFileWrapper.unwrap

    def told_unwrap(self: Any, *args: Any) -> bytes:
        key = unwrap(self, *args)
        teller("data key", key)
        return key

    KeyFileWrapper.unwrap = told_unwrap  # type: ignore[method-assign]
    rounds = presign._rounds

    def told_rounds(run: Any, batch: int, e: bytes | None) -> Any:
        if e is not None:
            teller("e", e)
        return rounds(run, batch, e=e)

    presign._rounds = told_rounds  # type: ignore[assignment]
    change = presign_prove.Item.__setattr__

    def told_change(self: Any, name: str, value: Any) -> None:
        change(self, name, value)
        if name == "chi":
            teller("chi", value)

    presign_prove.Item.__setattr__ = told_change  # type: ignore[method-assign]


def stop_at(labels: list[str]) -> None:
    """Set the trap."""
    from testing_daemon import label_of

    from participant.channel import RoomConversation

    post, armed = RoomConversation.post, set[str]()

    async def stopping(self: Any, *envelopes: bytes, **to: Any) -> None:
        due = armed & set(map(label_of, envelopes))
        if due:
            armed.difference_update(due)
            os.kill(os.getpid(), signal.SIGSTOP)
        await post(self, *envelopes, **to)

    def arm(number: int, _: object) -> None:
        armed.add(labels[0 if number == signal.SIGUSR1 else 1])
        print(ARMED, flush=True)  # noqa: T201 - the answer to the signal

    RoomConversation.post = stopping  # type: ignore[method-assign]
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, arm)


if __name__ == "__main__":
    listen_in(Teller(os.environ[TELL]))
    stop_at(os.environ[STOP_AT].split())
    daemon = Path(__file__).with_name("testing_daemon.py")
    sys.argv[0] = str(daemon)
    runpy.run_path(str(daemon), run_name="__main__")
