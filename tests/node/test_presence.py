"""Presence: two and three nodes' notes handed over by the test, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from node_testing import committee_of, node_keys
from tss_testing import SeededRng

from participant.node.config import NodeConfig
from participant.node.hello import Hello
from participant.node.presence import Facts, Presence
from tss.envelope import Signed, decode_body, holder, unpack
from tss.errors import SchemaViolation

PROTO = "test/v1"
CONFIG = NodeConfig(hello_interval=30.0, away_after=90.0, max_clock_skew=300.0, version="1.2")
CID = committee_of().committee_id
WAIT = 60.0


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Speaker:
    """A node's presence and what it posted."""

    point: int
    presence: Presence
    clock: Clock
    facts: Facts = field(default_factory=Facts)
    posted: list[bytes] = field(default_factory=list)

    async def say(self) -> Signed:
        """One hello, as `run` says it."""
        await self.presence._say()
        return opened(self.posted[-1])

    def hello(self) -> Hello:
        return Hello.decode(opened(self.posted[-1]).body.payload)


def opened(envelope: bytes) -> Signed:
    parts = unpack(envelope)
    assert isinstance(parts, tuple)
    return Signed(decode_body(parts[0]), *parts)


def speaker(point: int, seed: object = 0, wall: Callable[[], float] | None = None) -> Speaker:
    clock = Clock()
    posted: list[bytes] = []

    async def facts() -> Facts:
        return made.facts

    presence = Presence(
        config=CONFIG,
        proto=PROTO,
        committee_id=CID,
        me=holder(point),
        parties=[holder(1), holder(2), holder(3)],
        sign_function=node_keys()[point - 1].sign,
        rng=SeededRng((point, seed)),
        facts=facts,
        post=posted.append,
        clock=clock,
        wall=wall or (lambda: 1_700_000_000.0),
    )
    made = Speaker(point, presence, clock, posted=posted)
    return made


async def meet(a: Speaker, b: Speaker) -> None:
    """Each hears the other twice: the second hello names the boot number that the first one told."""
    for _ in range(2):
        said = [await a.say(), await b.say()]
        a.presence.take(said[1])
        b.presence.take(said[0])


async def test_two_who_heard_each_other_are_present():
    a, b = speaker(1), speaker(2)
    b.presence.take(await a.say())
    assert not b.presence.is_present(holder(1)), "one note proves nothing"
    a.presence.take(await b.say())
    assert a.presence.is_present(holder(2)), "it names our boot number"
    b.presence.take(await a.say())
    assert b.presence.is_present(holder(1))
    assert a.presence.is_present(holder(1)), "oneself"
    assert not a.presence.is_present(holder(3))


async def test_a_note_from_before_our_start_counts_for_nothing():
    a, b = speaker(1), speaker(2)
    await meet(a, b)
    recorded = opened(b.posted[-1])
    restarted = speaker(1, "second boot")
    restarted.presence.take(recorded)
    assert not restarted.presence.is_present(holder(2))


@pytest.mark.fault(12)
async def test_a_replay_of_a_live_note_does_not_keep_a_peer_alive():
    a, b = speaker(1), speaker(2)
    await meet(a, b)
    recorded = opened(b.posted[-1])
    a.clock.now += CONFIG.away_after - 1
    a.presence.take(recorded)
    assert a.presence.is_present(holder(2))
    a.clock.now += 1
    assert not a.presence.is_present(holder(2))
    a.presence.take(await b.say())
    assert a.presence.is_present(holder(2))


async def test_a_note_of_another_committee_or_without_sense_is_refused():
    a, b = speaker(1), speaker(2)
    said = await b.say()
    with pytest.raises(SchemaViolation, match="another committee"):
        a.presence.take(replace(said, body=replace(said.body, sid=bytes(32))))
    with pytest.raises(SchemaViolation):
        a.presence.take(replace(said, body=replace(said.body, payload=b"")))


async def test_a_peer_that_started_anew_is_announced_once():
    a, b = speaker(1), speaker(2)
    booted, heard = [], []
    a.presence.on_boot = booted.append
    a.presence.on_hello = lambda party, hello: heard.append((party, hello.number))
    await meet(a, b)
    assert booted == []
    again = speaker(2, "second boot")
    await meet(a, again)
    await meet(a, again)
    assert booted == [holder(2)]
    assert [party for party, _ in heard] == [holder(2)] * len(heard)


async def test_what_a_former_boot_held_is_forgotten_and_tags_are_as_before_when_nothing_is_said():
    a, b = speaker(1), speaker(2)
    b.facts = Facts(tags=frozenset([b"t" * 16]))
    await meet(a, b)
    assert a.presence.holds(holder(2), b"t" * 16)
    a.presence.take(await b.say())
    assert b.hello().tags is None
    assert a.presence.holds(holder(2), b"t" * 16)
    assert not a.presence.holds(holder(2), b"u" * 16)
    assert not a.presence.holds(holder(3), b"t" * 16)
    assert a.presence.holds(holder(1), b"u" * 16), "one knows best what one holds oneself"
    again = speaker(2, "second boot")
    await meet(a, again)
    assert not a.presence.holds(holder(2), b"t" * 16)


async def test_what_a_late_hello_says_of_accounts_counts_until_a_newer_one_says_it_anew():
    """A gateway may turn two hellos around; the second one says that nothing has changed since the first."""
    a, b = speaker(1), speaker(2)
    old, new, told = b"o" * 16, b"n" * 16, []
    b.facts = Facts(tags=frozenset([old]))
    await meet(a, b)
    b.facts = Facts(tags=frozenset([new]))
    late, then = await b.say(), await b.say()
    a.presence.take(then)
    assert a.presence.holds(holder(2), old)
    waiting = asyncio.create_task(a.presence.changes.wait_for(lambda: a.presence.holds(holder(2), new), WAIT))
    await asyncio.sleep(0)
    a.presence.take(late)
    assert await waiting, "who waits for it is told"
    b.facts = Facts(tags=frozenset([old]))
    a.presence.take(await b.say())
    a.presence.changes.notify = lambda: told.append(1)
    a.presence.take(late)
    assert a.presence.holds(holder(2), old)
    assert told == [], "it was outdated"
    unaddressed = speaker(2, 0)
    unaddressed.presence._number, unaddressed.facts = 2, Facts(tags=frozenset([new]))
    a.presence.take(await unaddressed.say())
    assert a.presence.holds(holder(2), old), "a note from before our start counts for nothing"


async def test_two_processes_with_a_peers_identity_are_noticed(caplog):
    a, b, twin = speaker(1), speaker(2), speaker(2, "twin")
    await meet(a, b)
    await meet(a, twin)
    assert a.presence.problem(holder(2)) == ""
    b.presence.take(await a.say())
    a.presence.take(await b.say())
    assert "two nodes speak as index 1" in a.presence.problem(holder(2))
    assert "two nodes speak as index 1" in caplog.text
    a.clock.now += CONFIG.away_after
    a.presence.take(await b.say())
    assert a.presence.problem(holder(2)) == "", "one of them was stopped"


async def test_a_process_with_our_own_identity_is_noticed_when_it_lives_now(caplog):
    a, copy = speaker(1), speaker(1, "copy")
    a.presence.take(await copy.say())
    assert not a.presence.has_twin(), "it may be a note of our own former boot"
    copy.presence.take(await a.say())
    a.presence.take(await copy.say())
    assert a.presence.has_twin()
    assert "identity (index 0)" in caplog.text
    assert "another process" in a.presence.problem(holder(1))
    a.clock.now += CONFIG.away_after
    assert not a.presence.has_twin()
    assert a.presence.problem(holder(1)) == ""


async def test_we_are_connected_when_our_own_note_comes_back():
    a = speaker(1)
    assert a.presence.connected_at is None
    said = await a.say()
    a.presence.take(said)
    assert a.presence.connected_at == a.clock.now
    a.presence.restarted()
    assert a.presence.connected_at is None
    a.presence.take(await a.say())
    assert a.presence.connected_at == a.clock.now


async def test_a_silent_one_is_made_good_by_its_next_hello():
    a, b = speaker(1), speaker(2)
    await meet(a, b)
    assert not a.presence.is_quiet(holder(2))
    a.presence.mark_silent(holder(2))
    a.presence.mark_silent(holder(1))
    assert a.presence.is_quiet(holder(2))
    assert a.presence.is_present(holder(2))
    assert not a.presence.is_quiet(holder(1))
    a.presence.take(await b.say())
    assert not a.presence.is_quiet(holder(2))


async def test_problems_are_told_in_words():
    now = 1_700_000_000.0
    a, b = speaker(1), speaker(2, wall=lambda: now + 301)
    assert "no hello of it was ever heard" in a.presence.problem(holder(2))
    await meet(a, b)
    assert "clock differs from ours by 301 s" in a.presence.problem(holder(2))
    a.clock.now += CONFIG.away_after
    assert a.presence.problem(holder(2)) == "away"


@pytest.mark.fault(21)
async def test_a_member_of_another_release_is_named_once_until_it_speaks_ours(caplog):
    a, b = speaker(1), speaker(2)
    for _ in range(2):
        a.presence.take_foreign(holder(2), "cggmp24-secp256k1/v9")
        a.presence.take_foreign(holder(1), "ourselves, which cannot be")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "speaks 'cggmp24-secp256k1/v9'" in a.presence.problem(holder(2))
    await meet(a, b)
    assert a.presence.problem(holder(2)) == ""
    a.presence.mark_silent(holder(2))
    assert a.presence.problem(holder(2)) == "", "it has spoken ours since"
    a.presence.take_foreign(holder(2), "cggmp24-secp256k1/v9")
    assert "speaks 'cggmp24-secp256k1/v9'" in a.presence.problem(holder(2)), "present a moment ago"


async def test_who_is_there_is_who_says_so_through_the_gateway_as_it_is_now():
    a, b = speaker(1), speaker(2)
    await meet(a, b)
    a.clock.now += 1
    a.presence.restarted()
    assert not a.presence.is_present(holder(2))
    a.presence.take(await b.say())
    assert a.presence.is_present(holder(2))


async def test_hellos_count_and_name_what_was_heard():
    a, b = speaker(1), speaker(2)
    await meet(a, b)
    first = a.hello()
    await a.say()
    assert a.hello().number == first.number + 1
    assert a.hello().boot == first.boot == a.presence.boot
    assert (2, b.presence.boot) in a.hello().seen
    assert a.hello().version == "1.2"


async def test_a_stream_of_invented_boots_does_not_grow_what_is_kept():
    a = speaker(1)
    for number in range(50):
        liar = speaker(2, number)
        liar.presence.take(await a.say())
        a.presence.take(await liar.say())
    peer = a.presence.peers[holder(2)]
    assert len(peer.heard) <= 2
    assert len(peer.numbers) <= 4
    assert len(a.hello().seen) <= 3


async def test_run_says_hello_at_once_when_due_and_when_something_changes(monkeypatch):
    a = speaker(1)
    a.presence._config = replace(CONFIG, hello_interval=WAIT)
    said = asyncio.Event()

    def post(envelope: bytes) -> None:
        a.posted.append(envelope)
        said.set()

    a.presence._post = post
    a.facts = Facts(tags=frozenset([b"t" * 16]))
    running = asyncio.create_task(a.presence.run())

    async def next_hello() -> Hello:
        await asyncio.wait_for(said.wait(), WAIT)
        said.clear()
        return a.hello()

    assert (await next_hello()).tags == {b"t" * 16}
    a.presence.refresh()
    a.presence.refresh()
    assert (await next_hello()).tags is None
    a.presence.refresh(full=True)
    assert (await next_hello()).tags == {b"t" * 16}
    a.facts = Facts(tags=frozenset([b"u" * 16]))
    a.presence.refresh()
    assert (await next_hello()).tags == {b"u" * 16}
    assert a.hello().number == 4, "what falls due together is one note"
    a.presence._config = replace(CONFIG, hello_interval=0.001)
    a.presence.refresh()
    for _ in range(3):
        await next_hello()
    assert a.hello().tags == {b"u" * 16}, "what has not changed is said again, in case it was lost"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_boot_is_answered_soon():
    a, b = speaker(1), speaker(2)
    await a.say()
    a.presence._due.clear()
    a.presence._full = False
    a.presence.take(await b.say())
    assert a.presence._due.is_set()
    assert a.presence._full, "a newcomer has heard nothing yet"
    a.presence._due.clear()
    a.presence.take(await b.say())
    assert not a.presence._due.is_set()


async def test_waiters_are_told():
    a, b = speaker(1), speaker(2)
    waiting = asyncio.create_task(a.presence.changes.wait_for(lambda: a.presence.is_present(holder(2)), WAIT))
    await asyncio.sleep(0)
    await meet(a, b)
    assert await waiting


async def test_those_who_wait_look_again_when_this_node_holds_something_else():
    a, told = speaker(1), []
    assert a.presence.own_tags is None
    waiting = asyncio.create_task(
        a.presence.changes.wait_for(lambda: told.append(a.presence.own_tags) or len(told) > 2, WAIT)
    )
    for tags in (frozenset([b"one"]), frozenset([b"one"]), frozenset([b"two"])):
        await asyncio.sleep(0)
        a.facts = Facts(tags=tags)
        await a.say()
    assert await waiting
    assert told == [None, {b"one"}, {b"two"}]
