"""A session's life on a node: real engine, real store, real threads; the relay is in memory and does what a test says."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest
from driver_testing import WAIT, adding, outcome, seats
from memory_channel import Hub, Refused
from node_testing import node_keys, reopen
from tss_testing import TINY

from participant.channel import Topic, session_topic
from participant.node import outbox
from participant.node.config import Deadlines
from participant.node.driver import SessionDriver
from participant.node.inbox import MAX_EACH, MAX_WAITING
from participant.store import StoreUnavailable
from tss.cggmp24 import presign
from tss.effects import Compute, Echo, Protocol, Receive, Send, SessionContext
from tss.encoding import Integer, encode
from tss.envelope import Body, Kind, holder, pack, routing, sign
from tss.errors import AbortedByPeer, InternalError, NoBlame, NotStored, PeerFault, Timeout
from tss.errors import Refused as RefusedByPeer
from tss.setting import Round0

IMPATIENT = Deadlines(0.3, {})


@pytest.mark.parametrize("round0", list(Round0))
async def test_all_end_with_the_result(tmp_path, round0):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        drivers = [seat.open(1, adding(seat.point), round0=round0) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]
        assert len({driver.sid for driver in drivers}) == 1
        assert {driver.phase for driver in drivers} == {"ended"}
        for driver, seat in zip(drivers, all_, strict=True):
            await asyncio.gather(*(task for task in seat.tasks._tasks if task.get_name() == "session toy"))
            assert seat.store.sessions.known(driver.sid)
            assert seat.store.sessions.known(driver.plan.ph) is (round0 is not Round0.NONE)
            assert seat.store.sessions.outcome(driver.sid) == "done"
    sid = drivers[0].sid
    rooms = {name for name, _, _, _ in hub.posted}
    own = session_topic(sid).name
    assert rooms == ({all_[0].room.topic.name} if round0 is Round0.NONE else {all_[0].room.topic.name, own})


async def test_what_came_before_the_session_is_not_lost(tmp_path):
    async with seats(tmp_path) as all_:
        first = [seat.open(1, adding(seat.point)) for seat in all_[:2]]
        await all_[0].room.flushed()
        late = all_[2].open(1, adding(3))
        assert await outcome(late) == 6
        assert [await outcome(driver) for driver in first] == [6, 6]


async def test_a_round_is_one_message(tmp_path):
    def program(ctx: SessionContext) -> Protocol[int]:
        yield Send(1, broadcast=1, p2p=dict.fromkeys(ctx.others, 2))
        said = yield Receive(1, broadcast=Integer(8), p2p=Integer(8), echo=Echo.NONE)
        return sum(int(said[party].p2p) for party in ctx.others)

    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        drivers = [seat.open(1, program) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [4, 4, 4]
    rounds = [message for message in hub.messages if routing(message[0])[0] == drivers[0].sid]
    together = [[routing(envelope)[2].index for envelope in message] for message in rounds]
    assert sorted(together) == [[1] * 3, [2] * 3, [3] * 3]
    receivers = {to for name, _, _, to in hub.posted if name == session_topic(drivers[0].sid).name}
    assert receivers == {None}, "a message for several is for everybody"


async def test_silence_is_named_and_nobody_is_blamed(tmp_path):
    async with seats(tmp_path, deadlines=IMPATIENT) as all_:
        drivers = [seat.open(1, adding(seat.point)) for seat in all_[:2]]
        for driver in drivers:
            with pytest.raises((Timeout, AbortedByPeer)):
                await outcome(driver)
        errors = [driver.outcome.exception() for driver in drivers]
        assert any(isinstance(error, Timeout) and error.silent == (3,) for error in errors)


async def test_a_deadline_does_not_pass_while_this_node_computes(tmp_path):
    """The job of one party takes longer than a phase may last: the others wait no longer, it itself is not to blame."""
    release = threading.Event()

    def job() -> int:
        assert release.wait(WAIT)
        return 0

    async with seats(tmp_path, deadlines=IMPATIENT) as all_:
        busy = all_[0].open(1, adding(1, job))
        others = [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        for driver in others:
            with pytest.raises((Timeout, AbortedByPeer)):
                await outcome(driver)
        assert any(
            isinstance(error, Timeout) and error.silent == (1,)
            for error in (driver.outcome.exception() for driver in others)
        )
        release.set()
        with pytest.raises(AbortedByPeer):
            await outcome(busy)


async def test_an_abort_reaches_the_others(tmp_path):
    async with seats(tmp_path) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: release.wait(WAIT)))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        assert await drivers[1].changes.wait_for(lambda: drivers[1].waiting_for == (1,), WAIT)
        drivers[1].abort(NoBlame("enough"))
        with pytest.raises(NoBlame, match="enough"):
            await outcome(drivers[1])
        with pytest.raises(AbortedByPeer):
            await outcome(drivers[2])
        release.set()
        with pytest.raises(AbortedByPeer):
            await outcome(drivers[0])


async def test_a_refusal_ends_the_initiators_session(tmp_path):
    async with seats(tmp_path) as all_:
        driver = all_[0].open(1, adding(1))
        note = all_[1].membership.note(TINY.proto, driver.plan.ph, Kind.ABORT, encode(["BUSY", "not now"]))
        all_[1].room.send(note)
        with pytest.raises(RefusedByPeer) as caught:
            await outcome(driver)
        assert caught.value.by == 2
        assert caught.value.reason == "BUSY: not now"


async def test_a_gateway_that_lost_everything_gets_it_again(tmp_path):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: int(release.wait(WAIT)) - 1))]
        drivers.append(all_[1].open(1, adding(2)))
        assert await drivers[0].changes.wait_for(lambda: drivers[0].waiting_for == (3,), WAIT)
        before = [entry for entry in hub.posted if entry[0] == all_[0].room.topic.name]
        hub.lose_history()
        await hub.until(lambda: len(hub.history[all_[0].room.topic.name]) >= len(before))
        drivers.append(all_[2].open(1, adding(3)))
        await hub.until(lambda: any("session_" in conversation.topic.name for conversation in hub.joined))
        hub.lose_history()
        release.set()
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]
    posted = [envelope for _, envelope, _, _ in hub.posted]
    assert len(posted) > len(set(posted)), "posted again, byte for byte"


async def test_what_a_gateway_loses_silently_is_said_again(tmp_path, monkeypatch):
    """Every envelope is taken once and goes nowhere; nobody is told so."""
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.05)
    hub, taken = Hub(), set()

    def first_time(envelope: bytes) -> bool:
        return envelope not in taken and not taken.add(envelope)

    hub.loses = first_time
    # Who has everything stays for those who lack its last message.
    async with seats(tmp_path, hub, linger=WAIT) as all_:
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]


async def test_nothing_is_said_again_behind_what_waits_to_be_posted(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "FIRST_PAUSE", 0.001)
    hub, up, tries = Hub(), asyncio.Event(), 0

    async def down(_topic: Topic, _envelope: bytes) -> None:
        nonlocal tries
        tries += 1
        await up.wait()

    hub.before_post = down
    async with seats(tmp_path, hub) as all_:
        driver = all_[0].open(1, adding(1))
        # Longer than ten repetitions would take, by the same clock.
        assert not await driver.changes.wait_for(lambda: tries > 1, 0.5)
        up.set()
        await driver.home.flushed()
        assert [entry[:2] for entry in hub.posted].count(hub.posted[0][:2]) == 1


async def test_a_gateway_that_refuses_the_sessions_room_ends_it(tmp_path):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:

        async def refuse(topic: Topic, envelope: bytes) -> None:
            if topic.name.startswith("session_"):
                raise Refused("no such room for you")

        hub.before_post = refuse
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        for driver in drivers:
            with pytest.raises(NoBlame):
                await outcome(driver)
        assert any("no such room for you" in str(driver.outcome.exception()) for driver in drivers)


async def test_a_room_that_breaks_by_what_nobody_foresaw_is_joined_again(tmp_path, monkeypatch):
    monkeypatch.setattr("participant.node.tasks.AGAIN_SECONDS", 0.0)
    hub, broken = Hub(), []
    async with seats(tmp_path, hub) as all_:

        async def break_once(topic: Topic, envelope: bytes) -> None:
            if topic.name.startswith("session_") and len(broken) < 3:
                broken.append(topic)
                raise RuntimeError("the library's own fault")

        hub.before_post = break_once
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]
        assert len(broken) == 3


async def test_a_store_that_takes_nothing_ends_it_before_anything_is_said(tmp_path, monkeypatch):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:

        def full(*_: object) -> None:
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(all_[0].store.sessions, "remember", full)
        driver = all_[0].open(1, adding(1))
        with pytest.raises((NotStored, StoreUnavailable)) as caught:
            await outcome(driver)
        assert "disk is full" in f"{caught.value} {caught.value.__cause__}"
        await all_[0].room.flushed()
        accepted = [e for _, e, sender, _ in hub.posted if sender == 0 and routing(e)[1] is Kind.MSG]
        assert accepted == []


async def test_an_ended_session_speaks_again_only_to_peers_that_still_speak(tmp_path):
    """What a node has said itself comes back from the room too, the last of it behind the end."""
    hub = Hub()
    async with seats(tmp_path, hub, linger=WAIT) as all_:
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]
        driver = drivers[0]
        assert await driver.changes.wait_for(lambda: driver.finished, WAIT)
        stranger = Body(TINY.proto, driver.sid, 1, Kind.MSG, holder(9), None, b"")
        own = [envelope for _, envelope, sender, _ in hub.posted if sender == 0]
        for envelope in [*own, b"nonsense", pack(sign(stranger, node_keys()[0].sign))]:
            driver._overhear(envelope)
        assert driver.home.idle
        (said, *_) = [envelope for _, envelope, sender, _ in hub.posted if sender == 1]
        driver._overhear(said)
        assert not driver.home.idle


SIGNING = pytest.mark.parametrize(
    "signing",
    [{"kind": "sign", "round0": Round0.NONE}, {"kind": presign.FULL_KIND, "round0": Round0.WITH_ROUND_1}],
    ids=["from stock", "full"],
)


@SIGNING
async def test_signing_stores_its_result_and_its_end_with_its_last_words(tmp_path, signing):
    async with seats(tmp_path) as all_:
        stored, synced = [], []
        store = all_[0].store

        def store_result(result: int, sid: bytes) -> None:
            stored.append((result, sid, threading.current_thread().name))
            synced.append(store._database.row("PRAGMA synchronous")[0])

        drivers = [all_[0].open(1, adding(1), **signing, store_result=store_result)]
        drivers += [seat.open(1, adding(seat.point), **signing) for seat in all_[1:]]
        assert await outcome(drivers[0]) == 6
        assert store.sessions.outcome(drivers[0].sid) == "done"
        assert store.sessions.outcome(drivers[0].plan.ph) in (None, "done")
        (found,) = stored
        assert found[:2] == (6, drivers[0].sid)
        assert found[2].startswith("step")
        assert synced == [1], "a write of its own, which is synced before the outcome is told"
        assert [await outcome(driver) for driver in drivers[1:]] == [6, 6]


@SIGNING
@pytest.mark.parametrize(("when", "said"), [("stored", {Kind.ABORT}), ("synced", set())])
async def test_signing_says_nothing_that_is_not_on_the_disk(tmp_path, monkeypatch, when, said, signing):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        store = all_[0].store

        def full(*_: object) -> None:
            raise StoreUnavailable("the disk is full")

        if when == "stored":
            monkeypatch.setattr(store.sessions, "remember", full)
        else:
            monkeypatch.setattr(store, "settle", full)
        driver = all_[0].open(1, adding(1), **signing)
        with pytest.raises((NotStored, StoreUnavailable)) as caught:
            await outcome(driver)
        assert "disk is full" in f"{caught.value} {caught.value.__cause__}"
        await all_[0].room.flushed()
        # What does not reach the store declines the proposal; what may be there or not is never spoken of again.
        assert {routing(envelope)[1] for _, envelope, sender, _ in hub.posted if sender == 0} == said


FULL = {"kind": presign.FULL_KIND, "round0": Round0.WITH_ROUND_1}


async def reached(driver: SessionDriver, phase: str) -> None:
    async with asyncio.timeout(WAIT):
        while not driver.phase.endswith(phase):
            await driver.changes.wait_for(lambda: driver.phase.endswith(phase), WAIT)


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize(("kind", "thread"), [(presign.FULL_KIND, "step"), (presign.KIND, "job")])
async def test_what_a_caller_waits_for_is_computed_where_the_session_steps(tmp_path, kind, thread, brief):
    """What was said before it is posted meanwhile."""
    others_may = threading.Event()

    def ready() -> str:
        return threading.current_thread().name[:4].rstrip("-_")

    def wait() -> None:
        assert others_may.wait(WAIT)

    def program(ctx: SessionContext) -> Protocol[list[str]]:
        first = ctx.me == holder(1)
        # While the echo of round 0 waits to be posted; and behind a round.
        before = yield Compute([ready if first else wait], brief=brief)
        yield Send(1, broadcast=1)
        yield Receive(1, broadcast=Integer(64), echo=Echo.NONE)
        after = yield Compute([ready], brief=brief)
        return [*before, *after] if first else []

    async with seats(tmp_path) as all_:
        drivers = [seat.open(1, program, kind=kind, round0=Round0.WITH_ROUND_1) for seat in all_]
        await reached(drivers[0], "r1")
        others_may.set()
        assert [await outcome(driver) for driver in drivers] == [[thread] * 2, [], []]


async def test_jobs_that_need_every_core_are_shared(tmp_path):
    """Two that wait for each other: one thread alone would wait for ever."""
    meeting = threading.Barrier(2, timeout=WAIT)

    def program(ctx: SessionContext) -> Protocol[int]:
        met = 0
        if ctx.me == holder(1):
            met = len((yield Compute([meeting.wait] * 2)))
        yield Send(1, broadcast=1)
        yield Receive(1, broadcast=Integer(64), echo=Echo.NONE)
        return met

    async with seats(tmp_path, cores=2) as all_:
        drivers = [seat.open(1, program, **FULL) for seat in all_]
        assert [await outcome(driver) for driver in drivers] == [2, 0, 0]


async def test_a_brief_job_that_fails_ends_the_session_as_any_other(tmp_path):
    def program(ctx: SessionContext) -> Protocol[None]:
        yield Send(1, broadcast=1)
        yield Receive(1, broadcast=Integer(64), echo=Echo.NONE)
        yield Compute([partial(int, "x")], brief=True)

    async with seats(tmp_path) as all_:
        drivers = [seat.open(1, program, **FULL) for seat in all_]
        for driver in drivers:
            with pytest.raises((InternalError, AbortedByPeer)):
                await outcome(driver)


async def test_a_bug_in_a_job_is_told_to_the_others_and_logged(tmp_path):
    async with seats(tmp_path) as all_:

        def broken() -> int:
            raise ZeroDivisionError

        drivers = [all_[0].open(1, adding(1, broken))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        with pytest.raises(InternalError, match="ZeroDivisionError"):
            await outcome(drivers[0])
        for driver in drivers[1:]:
            with pytest.raises(AbortedByPeer):
                await outcome(driver)


async def test_strangers_and_nonsense_are_counted_and_nothing_else(tmp_path):
    async with seats(tmp_path) as all_:
        driver = all_[0].open(1, adding(1))
        stranger = Body(TINY.proto, driver.plan.ph, 0, Kind.MSG, holder(9), None, b"")
        driver.deliver(b"nonsense")
        driver.deliver(pack(sign(stranger, node_keys()[0].sign)))
        drivers = [driver, *(seat.open(1, adding(seat.point)) for seat in all_[1:])]
        assert [await outcome(one) for one in drivers] == [6, 6, 6]
        assert driver.dropped["malformed"] == 1
        assert driver.dropped["stranger"] == 1
        before = driver.dropped.copy()
        driver.deliver(b"nonsense")
        assert driver.dropped == before, "an ended session looks at nothing"


def from_member(scope: bytes, index: int, number: int = 0, *, forged: bool = False) -> bytes:
    """A message that no round asks for, signed by the member, or in its name by somebody else."""
    body = Body(TINY.proto, scope, 0, Kind.MSG, holder(index), None, encode([number]))
    return pack(sign(body, node_keys(9)[8 if forged else index - 1].sign))


@pytest.mark.fault(15)
async def test_a_members_flood_drops_its_own_messages_only(tmp_path):
    async with seats(tmp_path) as all_:
        driver = all_[0].open(1, adding(1))
        for number in range(MAX_EACH + 7):
            driver.deliver(from_member(driver.plan.ph, 2, number))
        assert driver.dropped["flood"] == 7
        driver.deliver(from_member(driver.plan.ph, 3))
        assert driver.dropped["flood"] == 7
        driver.abort(NoBlame("enough"))
        with pytest.raises(NoBlame):
            await outcome(driver)


@pytest.mark.fault(15)
async def test_a_flood_in_a_members_name_displaces_nobodys_messages(tmp_path):
    """Anybody may write into a session's room: what is honest comes through behind it, and nothing is blamed."""
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: int(release.wait(WAIT)) - 1))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        await hub.until(lambda: sum(c.topic.name.startswith("session_") for c in hub.joined) == 3)
        sid = drivers[0].sid
        room = session_topic(sid).name
        for number in range(3 * MAX_WAITING):
            hub.say(room, from_member(sid, 1, number, forged=True))
        release.set()
        assert [await outcome(driver) for driver in drivers] == [6, 6, 6]
        assert all(driver.dropped["flood"] == 0 for driver in drivers)
        assert any(driver.dropped["signature"] for driver in drivers)


async def test_what_blames_or_aborts_is_kept_for_after_a_restart(tmp_path):
    async with seats(tmp_path) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: release.wait(WAIT)))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        assert await drivers[1].changes.wait_for(
            lambda: drivers[1].phase == "toy.r1" and drivers[1].waiting_for == (1,), WAIT
        )
        drivers[1].abort(NoBlame("enough"))
        with pytest.raises(NoBlame):
            await outcome(drivers[1])
        release.set()
        await asyncio.wait([driver.outcome for driver in drivers])
        kept = all_[1].store.sessions.durable_envelopes(drivers[1].sid)
        assert [kind for kind, _ in kept] == ["abort"]
        store = all_[1].store = reopen(all_[1].store)
        assert store.sessions.durable_envelopes(drivers[1].sid) == kept


async def test_progress_is_told_to_waiters(tmp_path):
    async with seats(tmp_path) as all_:
        drivers = [seat.open(1, adding(seat.point)) for seat in all_[:2]]
        told = asyncio.create_task(drivers[0].changes.wait_for(lambda: drivers[0].waiting_for == (3,), WAIT))
        assert await told
        assert drivers[0].phase == "toy.r0"
        third = all_[2].open(1, adding(3))
        assert await outcome(third) == 6
        assert drivers[0].stage == "adding"


async def test_a_session_that_is_cancelled_leaves_its_rooms_and_has_no_outcome(tmp_path):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: release.wait(WAIT)))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        await hub.until(lambda: len([c for c in hub.joined if c.topic.name.startswith("session_")]) == 3)
        assert await drivers[1].changes.wait_for(lambda: drivers[1].waiting_for == (1,), WAIT)
        for seat in all_:
            await seat.tasks.close()
        release.set()
        assert all(driver.outcome.cancelled() for driver in drivers)
        assert hub.joined == []


async def test_evidence_against_a_cheater_ends_the_session_with_a_fault(tmp_path):
    async with seats(tmp_path) as all_:
        drivers = [seat.open(1, adding(seat.point), round0=Round0.NONE) for seat in all_[:2]]
        assert await drivers[0].changes.wait_for(lambda: drivers[0].sid is not None, WAIT)
        sid = drivers[0].sid
        for value in (7, 8):
            body = Body(TINY.proto, sid, 1, Kind.MSG, holder(3), None, encode([value, None]))
            for driver in drivers:
                driver.deliver(pack(sign(body, node_keys()[2].sign)))
        for driver in drivers:
            with pytest.raises((PeerFault, AbortedByPeer)):
                await outcome(driver)
        errors = [driver.outcome.exception() for driver in drivers]
        assert any(isinstance(error, PeerFault) and error.peer == 3 and error.evidence for error in errors)
