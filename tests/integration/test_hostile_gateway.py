"""A gateway that is against its users denies service at most: nobody is blamed, and nothing is signed wrongly or twice.

Committees of real daemons behind it make keys and sign while it does what its `mischief` says; everything that was ever posted is
looked through in the end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from committee_processes import UNHURRIED, merged
from fault_testing import ROUNDS, Besieged, besieged_committee, fill_stock, said_in, signs
from hostile_gateway import Mischief
from mischief import Duplicates, Equivocating, Forging, Lossy, Replaying, Shuffled, kind_of
from secret_search import found_in, plaintexts_of, secrets_of

from tss.envelope import Kind, routing

SEED = 20261121


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[Besieged]:
    """Its key was generated while every message came at another moment than it was said."""
    settings = merged(UNHURRIED, {"node": {"hello_seconds": 5}})
    directory = tmp_path_factory.mktemp("committee")
    faults = {"plaintexts": directory / "plaintexts-{index}"}
    with besieged_committee(directory, settings=settings, faults=faults, mischief=Shuffled(SEED)) as besieged:
        yield besieged


@pytest.fixture
def siege(besieged) -> Iterator[Besieged]:
    yield besieged
    besieged.behave()


@pytest.mark.fault(3)
@pytest.mark.fault(25)
@pytest.mark.parametrize("times", [100] if ROUNDS == 1 else [2, 3, 10, 30, 100])
async def test_duplicates_change_nothing(siege, times):
    siege.gateway.mischief = Duplicates(times)
    await signs(siege.committee.nodes[times % 3], ("duplicates", times))
    await siege.check()


@pytest.mark.fault(4)
@pytest.mark.fault(25)
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_any_order_gives_the_same(siege, seed):
    siege.gateway.mischief = Shuffled((SEED, seed), 0.3)
    await asyncio.gather(
        signs(siege.committee.nodes[0], ("order", seed, 0)),
        signs(siege.committee.nodes[1], ("order", seed, 1)),
    )
    await siege.check()


@pytest.mark.fault(4)
async def test_a_key_was_generated_out_of_order(siege):
    """By the fixture."""
    kinds = [kind_of(post.envelope) for post in siege.gateway.posts]
    assert kinds.count(Kind.DONE) >= 3
    await siege.check()


@pytest.mark.fault(5)
@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "share", [0.3] if ROUNDS == 1 else [0.01, 0.03, 0.1, 0.2, 0.3], ids=lambda share: f"{share:.0%}"
)
async def test_connections_that_break_off_cost_time_only(siege, share):
    siege.gateway.mischief = Lossy((SEED, share), share, 0.2)
    await signs(siege.committee.nodes[0], ("lossy", share))
    await siege.check()


@pytest.mark.fault(25)
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_forgeries_are_nobodys_guilt(siege, seed):
    siege.gateway.mischief = forging = Forging((SEED, seed), 3)
    await signs(siege.committee.nodes[1], ("forged", seed))
    await fill_stock(siege.committee.nodes[0], (0, 2))
    assert (await signs(siege.committee.nodes[0], ("forged stock", seed), signers=(0, 2))).from_stock
    assert forging.made > 100
    await siege.check()


@pytest.mark.fault(12)
@pytest.mark.fault(25)
async def test_what_was_said_before_is_said_again_in_vain(siege):
    """All rooms of all sessions so far, in every room, among what is new."""
    gateway, committee = siege.gateway, siege.committee
    old = list(gateway.posts)
    scopes = {routing(post.envelope)[0] for post in old if kind_of(post.envelope) is not Kind.HELLO}
    before = {envelope for envelope in said_in(gateway) if routing(envelope)[0] in scopes}
    gateway.mischief = Replaying(SEED, old)
    await signs(committee.nodes[2], "replayed")
    # A node that has lost its memory is told the old rooms first.
    committee.nodes[1].restart()
    for post in old:
        gateway.inject(post.room, 1, post.body)
    committee.wait_ready()
    await signs(committee.nodes[1], "replayed to who has forgotten", signers=(0, 1))
    answers = {
        envelope
        for envelope in said_in(gateway) - before
        if routing(envelope)[0] in scopes and kind_of(envelope) not in (Kind.HELLO, Kind.ABORT)
    }
    assert not answers, "nobody speaks again in a session of the past"
    await siege.check()


@pytest.mark.fault(12)
@pytest.mark.fault(25)
async def test_rooms_that_are_given_out_as_others(siege):
    """Every reader of a new room finds an old session's messages in it."""
    gateway = siege.gateway
    rooms = sorted({post.room for post in gateway.posts if post.room.startswith("session_")})
    rng = random.Random(SEED)

    class Recycling(Mischief):
        def relay(self, post, _side):
            stale = [one.body for one in gateway.posts if one.room == rng.choice(rooms)][:20]
            return [(0.0, body) for body in (*stale, post.body)]

    gateway.mischief = Recycling()
    await signs(siege.committee.nodes[0], "recycled")
    await siege.check()


@pytest.mark.fault(25)
async def test_a_gateway_that_forgets_again_and_again(siege):
    call = asyncio.ensure_future(signs(siege.committee.nodes[0], "forgotten"))
    seen = len(siege.gateway.posts)
    for more in (1, 6, 12):
        await asyncio.to_thread(
            siege.gateway.until,
            lambda more=more: call.done() or len(siege.gateway.posts) > seen + more,
            "posts",
        )
        siege.gateway.forget()
    await call
    await siege.check()


@pytest.mark.fault(5)
@pytest.mark.fault(25)
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_each_is_told_another_story(siege, seed):
    """A third of what is said does not reach a third of those who should hear it: it is said again."""
    siege.gateway.mischief = Equivocating((SEED, seed), 0.3)
    await signs(siege.committee.nodes[0], ("stories", seed))
    await siege.check()


@pytest.mark.fault(25)
async def test_nothing_that_it_has_read_is_a_secret(siege, tmp_path):
    """Everything since the key was generated: requests as they came, and the envelopes in them."""
    committee = siege.committee
    secrets = [
        one for node in committee.nodes for one in secrets_of(node.directory, tmp_path / str(node.index))
    ]
    for index in range(3):
        secrets += plaintexts_of(committee.directory / f"plaintexts-{index}", 12, (SEED, index))
    assert len(secrets) > 30
    heads = b"".join(siege.gateway.read)
    assert not found_in([heads], secrets, base64_too=True)
    assert not found_in([b"".join(said_in(siege.gateway))], secrets)
