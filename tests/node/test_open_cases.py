"""Cases in which it is not known yet who cheated: what a node makes of the abort messages that come late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from cggmp24_cheating import reports
from cggmp24_testing import Signers
from node_testing import committee_of, new_store, reopen, sid_of
from presign_cheating import cheating
from session_testing import Anything, Identity, identity_of
from tss_testing import TINY

from participant.committee import Committee
from participant.node.blame import Blame, clear_marks, lift_block
from participant.node.cases import decode_run, encode_run, sender_of_opening
from participant.node.config import StockSettings
from participant.node.hello import Hello
from participant.node.identification import Identifications
from participant.node.pools import Pools
from participant.node.stock import Stock
from participant.node.workers import Workers
from tss.cggmp24.identify import Begun
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.encoding import decode, encode
from tss.envelope import Signed, decode_body, holder, pack, sign, unpack, verify_signature
from tss.errors import SchemaViolation, Unattributable
from tss.judge import judge

SIGNERS = Signers((1, 2, 3), 4)
LIAR, LIARS_LIE = 2, "presign.abort-delta.item0.dec"
CID = committee_of().committee_id
PLAIN_HELLO = Hello("1", bytes(16), 1, 0, (), None, frozenset(), (), (), (), ())
IDENTITIES = {holder(j): identity_of(holder(j)).public for j in SIGNERS.S}


class LiesInDelta(Presigning):
    """Sends delta_i + 1."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % TINY.group.q, *rest]


class Confused(Presigning):
    """Finds a failure where there is none."""

    def failed(self, _: Any) -> str:
        return "delta"


@lru_cache(maxsize=2)
def case(liar: Any) -> tuple[Begun, dict[int, bytes]]:
    """What party 1 blocks its set with, and everybody's abort message."""
    begun: list[Begun] = []

    def persist(record: object) -> None:
        if isinstance(record, Begun):
            begun.append(record)

    programs = {LIAR: cheating(LiesInDelta)} if liar else dict.fromkeys(SIGNERS.S, cheating(Confused))
    outcomes = SIGNERS.presign(seed=liar, programs=programs, persist={1: persist}, drop=reports)
    if not liar:
        assert isinstance(outcomes[1].error, Unattributable)
    found = {}
    for j in SIGNERS.S:
        envelopes = [out.envelope for out in outcomes[j].posted]
        (found[j],) = [one for one in envelopes if sender_of_opening(one) == holder(j)]
    return begun[0], found


class Hall:
    """Party 1's membership, as far as cases need it."""

    def __init__(self) -> None:
        self.committee_id, self.me, self.identities = CID, holder(1), IDENTITIES
        self.room, self.sent = self, []

    def committee_of(self, identity: bytes) -> Committee:
        assert identity in IDENTITIES.values()
        return committee_of()

    def send(self, envelope: bytes) -> None:
        self.sent.append(envelope)

    def open(self, envelope: bytes) -> Signed | None:
        encoded, signature = unpack(envelope)
        body = decode_body(encoded)
        known = self.identities.get(body.sender)
        good = known is not None and verify_signature(known, encoded, signature)
        return Signed(body, encoded, signature) if good else None


class World:
    def __init__(self, directory: Path, *, liar: bool = True, own: bool = True) -> None:
        self.begun, self.openings = case(liar)
        self.sid = self.begun.sid
        self.store = new_store(directory)
        self.store.sessions.remember(self.sid, "presign", CID, sid_of(1))
        self.store.blocked.block(self.sid, CID, self.begun.signers, encode_run(TINY, self.begun), "failed")
        if own:
            self.store.blocked.add_opening(self.sid, 1, self.openings[1])
        self.workers = Workers(1)
        self.hall: Any = Hall()
        self.now = 0.0
        self.changes = 0
        self.serve()

    def serve(self) -> None:
        stock = Stock(StockSettings())
        self.cases = Identifications(
            self.store, self.workers, Blame(self.store, stock, Pools()), lambda _: TINY, lambda: self.now
        )

        def changed(_: Any) -> None:
            self.changes += 1

        self.cases.on_change = changed

    def restart(self) -> None:
        self.store = reopen(self.store)
        self.serve()

    async def ended(self, *points: int) -> None:
        await self.cases.ended(self.hall, self.sid, {holder(j): self.openings[j] for j in points})

    async def take(self, *envelopes: bytes) -> None:
        for envelope in envelopes:
            await self.cases.take(self.hall, self.sid, envelope)

    @property
    def marks(self) -> list[tuple[int, str]]:
        """(evaluation point, reason) of who is in quarantine."""
        by_identity = {identity: party.index for party, identity in IDENTITIES.items()}
        return [(by_identity[entry.peer], entry.reason) for entry in self.store.quarantine.entries()]

    @property
    def reason(self) -> str:
        entry = self.store.blocked.find(self.sid)
        return "" if entry is None else entry.reason

    def assert_found(self) -> None:
        ((point, reason),) = self.marks
        assert point == LIAR
        assert LIARS_LIE in reason
        assert self.reason == "", "the set is free"
        (entry,) = self.store.quarantine.entries()
        verdict = judge(
            self.store.quarantine.evidence(entry.evidence_id) or b"", IDENTITIES, {TINY.proto: TINY}
        )
        assert (verdict.guilty, verdict.accused) == (True, holder(LIAR))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.workers.close()
    made.store.close()


async def test_the_last_abort_message_tells_who_it_was(world: World) -> None:
    await world.ended(3)
    assert "the proofs of index 1 are not here" in world.reason
    assert world.marks == []
    assert world.cases.waits_for(world.sid)
    assert world.cases.lacking(world.hall) == (world.sid,)
    await world.take(world.openings[LIAR])
    world.assert_found()
    assert world.changes == 2
    await world.take(world.openings[LIAR])
    assert len(world.marks) == 1


async def test_all_were_here_when_the_session_ended_without_its_echoes(world: World) -> None:
    """Who withholds the echo behind a false proof is found all the same."""
    await world.ended(2, 3)
    world.assert_found()


async def test_cases_of_a_former_process_are_taken_up(world: World) -> None:
    for point in (2, 3):
        world.store.blocked.add_opening(world.sid, point, world.openings[point])
    world.restart()
    assert not world.cases.waits_for(world.sid)
    await world.cases.begin(world.hall)
    world.assert_found()


async def test_a_false_opening_is_found_before_the_others_are_here(world: World) -> None:
    body = decode_body(unpack(world.openings[LIAR])[0])
    echo, (k, opened, psi_star, psi) = decode(body.payload, Anything(TINY.group))
    false = [[opened[0][0] + 1, *opened[0][1:]], *opened[1:]]
    forged = replace(body, payload=encode([echo, [k, false, psi_star, psi]]))
    await world.ended()
    await world.take(pack(sign(forged, identity_of(holder(LIAR)).sign)))
    ((point, reason),) = world.marks
    assert (point, "presign.abort-delta.item0.open" in reason) == (LIAR, True)
    assert world.reason == ""


async def test_what_is_no_abort_message_of_the_case_is_dropped(world: World) -> None:
    await world.ended()
    body = decode_body(unpack(world.openings[LIAR])[0])
    secret = identity_of(holder(LIAR)).sign
    for other in (
        pack(sign(replace(body, round=4), secret)),
        pack(sign(replace(body, sid=sid_of(5)), secret)),
        pack(sign(body, Identity.of("a stranger").sign)),
        pack(sign(replace(body, sender=holder(4)), identity_of(holder(4)).sign)),
        world.openings[1],
    ):
        await world.take(other)
    assert world.store.blocked.openings(world.sid) == {1: world.openings[1]}
    await world.cases.take(world.hall, sid_of(9), world.openings[LIAR])
    assert world.marks == []


async def test_whoever_lacks_abort_messages_gets_them_and_not_too_often(world: World) -> None:
    await world.ended(3)
    hello = replace(PLAIN_HELLO, blocked=(sid_of(7), world.sid))
    await world.cases.hear(world.hall, hello)
    assert world.hall.sent == [world.openings[1], world.openings[3]]
    await world.cases.hear(world.hall, hello)
    assert len(world.hall.sent) == 2
    world.now += 60
    await world.cases.hear(world.hall, hello)
    assert len(world.hall.sent) == 4


async def test_a_set_that_an_operator_cleared_waits_for_nothing(world: World) -> None:
    await world.ended(3)
    assert lift_block(world.store, world.sid, "operator", "seen")
    assert not lift_block(world.store, world.sid, "operator", "again")
    await world.take(world.openings[LIAR])
    assert world.marks == []
    assert world.cases.lacking(world.hall) == ()


async def test_proofs_that_all_hold_free_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, liar=False)
    await world.ended(2, 3)
    assert world.marks == []
    assert "every proof holds" in world.reason
    assert world.cases.lacking(world.hall) == ()
    world.workers.close()
    world.store.close()


async def test_a_node_that_lost_its_own_proofs_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, own=False)
    await world.ended(2, 3)
    assert world.marks == []
    assert "lost its own proofs" in world.reason
    assert world.cases.lacking(world.hall) == (), "nobody else can bring them"
    world.workers.close()
    world.store.close()


async def test_a_damaged_record_leaves_the_set_blocked(world: World) -> None:
    world.store._database.execute("UPDATE blocked_set SET run = x'00'")
    await world.ended(2, 3)
    assert world.reason == "failed"
    with pytest.raises(SchemaViolation):
        decode_run(b"\x00")


def test_marks_are_cleared_with_a_record(world: World) -> None:
    store = world.store
    for reason in ("one", "two"):
        store.quarantine.add(b"p" * 32, CID, reason)
    assert clear_marks(store, b"p" * 32, "operator", "new disk") == 2
    assert clear_marks(store, b"p" * 32, "operator", "new disk") == 0
    (entry,) = store.audit.export()
    assert (entry.record.decision, "new disk" in entry.record.reason) == ("cleared", True)


def test_no_opening_is_read_from_anything_else() -> None:
    _, openings = case(True)
    assert sender_of_opening(openings[2]) == holder(2)
    body = decode_body(unpack(openings[2])[0])
    signed = sign(replace(body, round=3), identity_of(holder(2)).sign)
    for envelope in (b"", b"\x06", pack(signed)):
        assert sender_of_opening(envelope) is None
