"""sign-service with a test-size signature scheme: `python testing_daemon.py CONFIG`.

The very same daemon, whose wheel has no way to such a level; signatures are real ones on secp256k1.

WALLET_MPC_TEST_TRAP is a file that names a message boundary at which the process kills itself, as kill -9 would: "before
LABEL" or "after LABEL" for the post of its first message of that label (see `label_of`). The file is read at SIGUSR1,
which the process answers with the line "armed".
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
from tss.params import FROST_ED25519

TRAP = "WALLET_MPC_TEST_TRAP"
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

    def __init__(self, file: Path) -> None:
        self.file = file
        self.when = self.label = ""
        self._post = RoomConversation.post

    def set(self) -> None:
        trap = self

        async def post(
            conversation: RoomConversation, *envelopes: bytes, sender: int, receiver: int | None = None
        ) -> None:
            due = trap.label in map(label_of, envelopes)
            if due and trap.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            await trap._post(conversation, *envelopes, sender=sender, receiver=receiver)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)

        RoomConversation.post = post  # type: ignore[method-assign]
        signal.signal(signal.SIGUSR1, self._arm)

    def _arm(self, *_: object) -> None:
        self.when, self.label = self.file.read_text().split()
        assert self.when in {"before", "after"}, self.when
        print(ARMED, flush=True)  # noqa: T201 - the answer to the signal


if __name__ == "__main__":
    if TRAP in os.environ:
        Trap(Path(os.environ[TRAP])).set()
    # So that a test may look into this process's memory without being root.
    sign_service.main.forbid_memory_dumps = lambda: None
    sys.exit(run(Path(sys.argv[1]), suites={"secp256k1": SMALL_SECP, "ed25519": FROST_ED25519}))
