"""What one party of a session says (protocol.md 0.8, 4.1).

Signed, sealed where it is for one party alone, durable first where it has to be; and the faults that it finds, as
evidence and complaints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tss.control import MAX_CHECK, MAX_REASON
from tss.echo import SAID_ONCE, EchoRecord
from tss.effects import Durable, Send, SendDurably
from tss.encoding import Value, encode
from tss.envelope import (
    MAX_BROADCAST_BYTES,
    MAX_ENVELOPE_BYTES,
    Body,
    Kind,
    PartyId,
    Signed,
    pack,
    seal,
    sign,
)
from tss.errors import (
    BadSignerSet,
    Equivocation,
    InternalError,
    NotStored,
    PeerFault,
    ProtocolError,
)
from tss.evidence import Evidence
from tss.judge.showing import relevant
from tss.mailbox import Mailbox
from tss.setting import Outgoing, Runtime, Setup


class Speaker:
    """The speaking half of a session: it decides nothing. What it says is collected until the driver takes it."""

    def __init__(self, setup: Setup, runtime: Runtime) -> None:
        """Raises BadSignerSet when the members repeat or lack this party."""
        self.setup = setup
        self.suite = setup.suite
        self.me = setup.me
        self._identities = {member.party: member.identity for member in setup.members}
        if len(self._identities) != len(setup.members) or self.me not in self._identities:
            raise BadSignerSet("a session's members are different parties, this one among them")
        self.parties = tuple(sorted(self._identities))
        self.others = tuple(party for party in self.parties if party != self.me)
        self._runtime = runtime
        self._mail = Mailbox(setup.suite.proto, setup.me, self._identities, setup.ph)
        self._out: list[Outgoing] = []
        self._echo_to_send: EchoRecord | None = None
        self._epks: dict[PartyId, bytes] = {}
        self._committed = False
        self.sid: bytes | None = None
        self.sid_preimage: list[Value] | None = None

    def sid_or_fail(self) -> bytes:
        """The sid, once it is known."""
        if self.sid is None:
            raise InternalError("the session id is not known yet")
        return self.sid

    def _persist(self, record: object) -> Any:
        try:
            return self._runtime.persist(record)
        except ProtocolError:
            raise
        except Exception as error:
            raise NotStored(
                f"a {type(record).__name__} could not be stored: {type(error).__name__}"
            ) from error

    def _send_round(self, effect: Send) -> None:
        sid = self.sid_or_fail()
        if effect.broadcast is not None:
            self._send(sid, effect.round, effect.kind, self._with_echo(effect.broadcast))
        for party, payload in sorted(effect.p2p.items()):
            self._send(sid, effect.round, effect.kind, encode(payload), to=party)

    def _send_durably(self, effect: SendDurably) -> bytes:
        """The record and the very envelope are durable before the envelope leaves."""
        payload = self._with_echo(effect.broadcast)
        return self._send(self.sid_or_fail(), effect.round, effect.kind, payload, durably=effect)

    def _with_echo(self, broadcast: Value) -> bytes:
        """The payload of a [B] message: the echo of the round before, where one is due, and the protocol's value."""
        echo, self._echo_to_send = self._echo_to_send, None
        return encode([None if echo is None else echo.as_value(), broadcast])

    def _send(
        self,
        sid: bytes,
        round_: int,
        kind: Kind,
        payload: bytes,
        to: PartyId | None = None,
        durably: SendDurably | None = None,
    ) -> bytes:
        signed = self._sign(Body(self.suite.proto, sid, round_, kind, self.me, to, payload))
        envelope = pack(signed) if to is None else seal(signed, self._epks[to])
        in_slot = to is None and kind in SAID_ONCE
        if len(envelope) > MAX_ENVELOPE_BYTES or (in_slot and len(signed.encoded) > MAX_BROADCAST_BYTES):
            raise InternalError(f"a {kind} message of {len(envelope)} bytes, which no peer takes")
        if durably is not None:
            self._persist(Durable(durably.record, envelope))
            if kind is Kind.DONE:
                self._committed = True
        if in_slot:
            self._mail.slots[signed.body.slot] = signed
        self._out.append(Outgoing(envelope, sid, self.me, to))
        return envelope

    def _sign(self, body: Body) -> Signed:
        """Every message of this party passes here; the malicious party of the tests is a subclass that lies here."""
        return sign(body, self._runtime.sign)

    # -- faults --------------------------------------------------------------------------------------------------

    def _tell(self, error: ProtocolError) -> None:
        scope = self.sid or self.setup.ph
        faults = (error, *error.also) if isinstance(error, PeerFault) else ()
        told = False
        for fault in faults:
            accused = next((party for party in self.others if fault.is_of(party)), None)
            if accused is not None:
                self._complain(scope, accused, fault)
                told = True
        if not told and not self._committed:
            # After `done` the others may still complete without us: an abort would only stop them.
            text = [_clip(type(error).__name__, 64), _clip(str(error), MAX_REASON)]
            self._send(scope, 0, Kind.ABORT, encode(text))

    def _complain(self, scope: bytes, accused: PartyId, error: PeerFault) -> None:
        if error.evidence is None:
            said = [s for slot, s in self._mail.slots.items() if slot.to is None or slot.sender == accused]
            shown = relevant(self.setup.kind, error.check, accused, said)
            error.evidence = self._evidence(error, accused, [*shown, *self.setup.background]).encode()
        claim = [accused.as_list(), _clip(error.check, MAX_CHECK)]
        room = MAX_ENVELOPE_BYTES - _COMPLAINT_OVERHEAD
        self._send(
            scope, 0, Kind.COMPLAINT, encode([*claim, error.evidence if len(error.evidence) <= room else b""])
        )

    def _equivocation(self, first: Signed, second: Signed) -> ProtocolError:
        slot = first.body.slot
        if slot.sender == self.me:
            return InternalError(
                f"this party's identity signed two different {slot.kind} messages of round {slot.round}: "
                "a second node runs with it, or a restored copy"
            )
        fault = Equivocation("two different signed messages in one slot")
        fault.blame(slot.sender, f"{self.setup.kind}.r{slot.round}.{slot.kind}")
        fault.evidence = self._evidence(fault, slot.sender, [first, second]).encode()
        return fault

    def _preimages(self) -> Sequence[Sequence[Value]]:
        return () if self.sid_preimage is None else (self.sid_preimage, *self.setup.preimages)

    def _evidence(self, error: PeerFault, accused: PartyId, messages: Sequence[Signed]) -> Evidence:
        """What a third party needs to look at this fault again."""
        return Evidence.collect(
            proto=self.suite.proto,
            sid_preimages=(*self._preimages(), *error.preimages),
            accused=accused,
            check=_clip(error.check, MAX_CHECK),
            messages=messages,
        )


_COMPLAINT_OVERHEAD: Final = 1024
"""What signature, header, accused and check add to the evidence in a complaint's envelope."""


def _clip(text: str, size: int) -> str:
    """`text` cut to `size` bytes of UTF-8."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")
