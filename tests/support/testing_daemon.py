"""sign-service with a test-size signature scheme: `python testing_daemon.py CONFIG`.

The very same daemon, whose wheel has no way to such a level; signatures are real ones on secp256k1.

WALLET_MPC_TEST_KILL_AT names a message boundary at which the process kills itself, as kill -9 would: "before LABEL" or
"after LABEL" for the post of its first message of that label (see `label_of`). It holds from the start, or, with "armed"
behind it, from SIGUSR1 on, which the process answers with the line "armed".
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tss_testing import SMALL_SECP

import sign_service.main
from participant.channel import RoomConversation
from sign_service.main import run
from tss.envelope import Sealed, decode_body, unpack
from tss.errors import ProtocolError

KILL_AT = "WALLET_MPC_TEST_KILL_AT"
ARMED = "armed"


def label_of(envelope: bytes) -> str:
    """ "hello", "propose", "abort", "done", ...; messages and echoes of round r are "msg.r" and "echo.r"."""
    try:
        opened = unpack(envelope)
        body = opened if isinstance(opened, Sealed) else decode_body(opened[0])
    except ProtocolError:
        return "?"
    return f"{body.kind}.{body.round}" if str(body.kind) in {"msg", "echo"} else str(body.kind)


class Trap:
    """Kills this process before or after it posts a message of one label."""

    def __init__(self, when: str, label: str, *, armed: bool) -> None:
        self.when = when
        self.label = label
        self.armed = armed
        self._post = RoomConversation.post

    def set(self) -> None:
        trap = self

        async def post(
            conversation: RoomConversation, envelope: bytes, *, sender: int, receiver: int | None = None
        ) -> None:
            due = trap.armed and label_of(envelope) == trap.label
            if due and trap.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            await trap._post(conversation, envelope, sender=sender, receiver=receiver)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)

        RoomConversation.post = post  # type: ignore[method-assign]
        signal.signal(signal.SIGUSR1, self._arm)

    def _arm(self, *_: object) -> None:
        self.armed = True
        print(ARMED, flush=True)  # noqa: T201 - the answer to the signal


if __name__ == "__main__":
    if KILL_AT in os.environ:
        when, label, *rest = os.environ[KILL_AT].split()
        assert when in {"before", "after"}, when
        assert rest in ([], [ARMED]), rest
        Trap(when, label, armed=not rest).set()
    # So that a test may look into this process's memory without being root.
    sign_service.main.forbid_memory_dumps = lambda: None
    sys.exit(run(Path(sys.argv[1]), suites={"secp256k1": SMALL_SECP}))
