"""sign-service of a malicious party: `python cheating_daemon.py CONFIG [full]`, at a testing level or the real one.

The very same daemon with two seams: `Session` is one whose messages are changed before they are signed, and presigning
may be another class. Which of CHEATS it does stands in the file `cheat` beside CONFIG, looked at when a session begins;
nothing there, and it is honest. The session goes on as if nothing were: a cheater's own complaints and aborts are not sent.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cggmp24_cheating import changed
from lying_presigner import AnotherChi, AnotherDelta, AnotherGammaInD, LargeK
from session_testing import Tamper, says, tells
from tss_testing import SMALL_SECP

import participant.node.driver
import sign_service.main
from participant.sharefile import SUITES
from sign_service.main import run
from tss.cggmp24 import presign
from tss.envelope import Body, Kind, Signed, decode_body, holder, pack, unpack
from tss.errors import PeerFault
from tss.groups import SECP256K1
from tss.session import Outgoing, Session

CHEATER, VICTIM = 1, 0
"""Indices. The victim is the one that is lied to where one alone is."""
TO_VICTIM = VICTIM + 1
Q = SECP256K1.q


@dataclass(frozen=True)
class Cheat:
    """One lie. `check` begins the id of the check that finds it."""

    kind: str
    """Of the session in which it is told."""
    check: str
    tamper: tuple[Tamper, ...] = ()
    twice: tuple[Tamper, ...] = ()
    """A broadcast that these change is sent as it is, too: two versions in one slot."""
    presigning: type[presign.Presigning] | None = None
    accuses: str = ""
    """With its message of round 2 it complains that the victim failed this check of round 1."""
    account: str = "main"
    """Three sign for "main", two for "pair": identification costs each pair of signers a proof to all."""


def other_byte(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


CHEATS: dict[str, Cheat] = {
    "bad share to one": Cheat(
        "keygen", "keygen.r2.share", (tells(2, lambda v: changed(v, 0, lambda s: (s + 1) % Q), to=TO_VICTIM),)
    ),
    "reveal that does not match": Cheat(
        "keygen", "keygen.r2.decommit", (says(2, lambda v: changed(v, 4, other_byte)),)
    ),
    "bad fac to one": Cheat(
        "aux", "aux.r3.fac:", (tells(3, lambda psi: changed(psi, 5, lambda z1: z1 + 1), to=TO_VICTIM),)
    ),
    "k out of range": Cheat("full-sign", "presign.r1.item0.k.enc-elg:z1 range", presigning=LargeK),
    "D with gamma + 1": Cheat("full-sign", "presign.r2.item0.gamma.aff-g:", presigning=AnotherGammaInD),
    "sigma + 1": Cheat("full-sign", "sign.partial.equation", (says(4, lambda v: [v[0], (v[1] + 1) % Q]),)),
    "sigma + 1 from stock": Cheat(
        "sign", "sign.partial.equation", (says(2, lambda v: [v[0], (v[1] + 1) % Q]),)
    ),
    "a false accusation": Cheat(
        "full-sign", "full-sign.complaint.false", accuses="presign.r1.item0.k.enc-elg:z1 range"
    ),
    "two entropies": Cheat(
        "full-sign", "full-sign.r3.msg", twice=(says(3, lambda v: [v[0], other_byte(v[1])]),)
    ),
    # Last: the cheater itself never learns who it was, and its node keeps such a signer set blocked.
    "delta + 1": Cheat(
        "full-sign", "presign.abort-delta.item0.dec:", presigning=AnotherDelta, account="pair"
    ),
    "S + G": Cheat("full-sign", "presign.abort-chi.item0.dec:", presigning=AnotherChi, account="pair"),
}


class Liar(Session):
    """Does what the file says from its beginning to its end."""

    chosen: Path

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        cheat = CHEATS.get(self.chosen.read_text() if self.chosen.exists() else "")
        self._cheat = cheat if cheat is not None and cheat.kind == self.setup.kind else None
        self._accusing = False

    def _sign(self, body: Body) -> Signed:
        return super()._sign(self._changed(body, self._cheat.tamper) if self._cheat else body)

    def _changed(self, body: Body, rules: Sequence[Tamper]) -> Body:
        for rule in rules:
            if rule.for_all(body):
                body = rule.apply(body, self.suite.group)
        return body

    def _send(self, sid: bytes, round_: int, kind: Kind, *args: Any, **more: Any) -> bytes:
        cheat = self._cheat
        if cheat and kind in (Kind.ABORT, Kind.COMPLAINT) and not self._accusing:
            return b""
        envelope = super()._send(sid, round_, kind, *args, **more)
        if cheat and self._out[-1].to is None:
            encoded = unpack(envelope)[0]
            second = self._changed(decode_body(encoded), cheat.twice)
            if second.encode() != encoded:
                # As if for one peer it goes in the same room message: nobody has answered the first when it comes.
                alike = pack(super()._sign(second))
                self._out.append(Outgoing(alike, sid, self.me, holder(TO_VICTIM)))
            if cheat.accuses and (kind, round_) == (Kind.MSG, 2):
                self._accusing = True
                self._complain(
                    sid, holder(TO_VICTIM), PeerFault("a lie", peer=TO_VICTIM, check=cheat.accuses)
                )
                self._accusing = False
        return envelope


def presigning(*args: Any) -> presign.Presigning:
    """Honest or not, as the file says."""
    cheat = CHEATS.get(Liar.chosen.read_text() if Liar.chosen.exists() else "")
    return ((cheat.presigning if cheat else None) or HONEST)(*args)


HONEST = presign.Presigning

if __name__ == "__main__":
    config = Path(sys.argv[1])
    Liar.chosen = config.with_name("cheat")
    participant.node.driver.Session = Liar  # type: ignore[misc]
    presign.Presigning = presigning  # type: ignore[assignment,misc]
    sign_service.main.forbid_memory_dumps = lambda: None
    suites = SUITES if sys.argv[2:] == ["full"] else {"secp256k1": SMALL_SECP}
    sys.exit(run(config, suites=suites))
