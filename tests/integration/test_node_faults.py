"""Something is wrong with one node: its disk, clock, memory of the past, release, randomness, or it stands still.

It says so and does nothing wrong; the others go on without it and blame nobody; when it is well again, it takes part.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from committee_processes import NodeProcess, create_account, wait_until
from fault_testing import (
    ROUNDS,
    SHORT,
    Besieged,
    FaultyNode,
    besieged_committee,
    disk_errors,
    failing_disk,
    fails,
    fill_stock,
    full_disk,
    limited,
    open_files,
    signs,
    signs_in_the_end,
    stopped,
)
from mischief import Withheld, kind_of
from processes import run_process

from kit.pb.wallet.v1 import operator_pb2 as operator
from tss.envelope import Kind, routing

HOUR = 3600.0


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[Besieged]:
    directory = tmp_path_factory.mktemp("committee")
    with besieged_committee(directory, settings=SHORT, faults={}, env=disk_errors(directory)) as besieged:
        yield besieged


@pytest.fixture
def siege(besieged) -> Iterator[Besieged]:
    """Afterwards all nodes are well, running and heard."""
    yield besieged
    besieged.behave()
    for node in besieged.committee.nodes:
        assert isinstance(node, FaultyNode)
        node.suffer()
        if node.process is None:
            node.start()
    besieged.committee.wait_ready()


def slots_of(siege: Besieged, side: int) -> set[bytes]:
    """What a node has said in sessions."""
    kinds = (Kind.MSG, Kind.ECHO, Kind.DONE)
    posts = [post for post in siege.gateway.posts if post.side == side]
    return {envelope for post in posts for envelope in post.envelopes if kind_of(envelope) in kinds}


@pytest.mark.fault(7)
@pytest.mark.parametrize("disk", [full_disk, failing_disk])
async def test_a_disk_that_takes_nothing(siege, disk):
    """Nothing is said that is not stored: readiness says so, the others sign, and it ends with its cause."""
    nodes, name = siege.committee.nodes, disk.__name__
    await fill_stock(nodes[0], (0, 1), 1)
    with disk(nodes[1]):
        assert "store" in nodes[1].failing()
        said = slots_of(siege, 1)
        error = await fails(signs(nodes[0], name, signers=(0, 1)))
        assert error.reason in {"THRESHOLD_NOT_MET", "STORE_FAILED"}, error
        assert (await fails(signs(nodes[1], ("its own", name)))).reason == "STORE_FAILED"
        assert slots_of(siege, 1) == said, "no partial signature, no acceptance"
        assert (await signs_in_the_end(nodes[0], ("without it", name))).signers == [0, 2]
    siege.committee.wait_ready()
    await signs_in_the_end(nodes[0], name, signers=(0, 1))
    await signs_in_the_end(nodes[1], ("its own", name), signers=(0, 1))
    await siege.check()


@pytest.mark.fault(9)
@pytest.mark.parametrize("offset", [HOUR, -HOUR][: 2 if ROUNDS > 1 else 1])
async def test_a_clock_that_jumps(siege, offset):
    """A session that is under way ends well; afterwards the node is told about its clock, and passed over."""
    committee, gateway, name = siege.committee, siege.gateway, f"jump by {offset}"
    before = len(gateway.posts)

    async def create() -> None:
        async with committee.nodes[0].client() as client:
            await create_account(client, name)

    call = asyncio.ensure_future(create())
    await asyncio.to_thread(
        gateway.until,
        lambda: any(post.side == 1 and kind_of(post.envelope) is Kind.MSG for post in gateway.posts[before:]),
        "it takes part",
    )
    await asyncio.to_thread(committee.nodes[1].suffer, clock=offset)
    await call
    assert (await signs_in_the_end(committee.nodes[0], name, account_id=name)).signers == [0, 2]
    error = await fails(signs(committee.nodes[1], "its own clock", signers=(0, 1)))
    assert error.reason in {"THRESHOLD_NOT_MET", "TIMEOUT"}, error
    await asyncio.to_thread(warned, committee.nodes[0], "index 1.*its clock differs")
    await siege.check()


def warned(node: NodeProcess, pattern: str) -> None:
    """Wait until it tells its operator so."""

    async def ask() -> list[str]:
        async with node.operator() as client:
            return list((await client.call(client.operator.GetStatus, operator.GetStatusRequest())).warnings)

    wait_until(lambda: any(re.search(pattern, text) for text in asyncio.run(ask())), pattern)


@pytest.mark.fault(11)
async def test_many_at_once_on_one_account(siege):
    """The same and other messages, from all nodes: each is signed, and no presignature serves twice."""
    nodes, count = siege.committee.nodes, 5 * ROUNDS
    await fill_stock(nodes[0], (0, 1), 2)
    calls = [signs_in_the_end(nodes[i % 3], ("at once", i // 2)) for i in range(count)]
    answers = await asyncio.gather(*calls)
    assert len({answer.digest for answer in answers}) == (count + 1) // 2
    await siege.check()


def copy_store(node: NodeProcess, directory: Path) -> None:
    """By SQLite's own means, while the daemon runs, as operators are told to."""
    with (
        contextlib.closing(sqlite3.connect(node.directory / "store.db")) as source,
        contextlib.closing(sqlite3.connect(directory / "store.db")) as target,
    ):
        source.backup(target)
    (directory / "store.db").chmod(0o600)


@pytest.mark.fault(19)
async def test_a_store_from_a_copy(siege, tmp_path):
    """Presignatures are in no copy: what was answered is not answered again, and the node signs with new ones."""
    committee, nodes = siege.committee, siege.committee.nodes
    await fill_stock(nodes[0], (0, 1), 2)
    copy_store(nodes[1], tmp_path)
    await fill_stock(nodes[0], (0, 1), 2)
    first = await signs_in_the_end(nodes[0], "before the copy came back", signers=(0, 1))
    assert first.from_stock
    nodes[1].kill()
    for path in nodes[1].directory.glob("store.db*"):
        path.unlink()
    shutil.copy(tmp_path / "store.db", nodes[1].directory)
    nodes[1].start()
    # It is shown everything that it has forgotten, among it the proposals that it took part in.
    for post in list(siege.gateway.posts):
        if post.room.startswith("committee_"):
            siege.gateway.inject(post.room, 1, post.body)
    committee.wait_ready()
    again = await signs_in_the_end(nodes[1], "before the copy came back", signers=(0, 1))
    assert not again.from_stock, "it does not know the answer any more, nor the presignature"
    assert await signs(nodes[0], "before the copy came back", signers=(0, 1)) == first
    siege.rolled_back.add(1)
    await siege.check()


@pytest.mark.fault(21)
@pytest.mark.fault(22)
async def test_two_releases(siege):
    """A node whose protocol is another is named as such by the others, and by it. Without randomness it does not start."""
    committee, faulty = siege.committee, siege.committee.nodes[1]
    faulty.kill()
    faulty.suffer(random=False)
    code, process = run_process(faulty.argv, faulty.env)
    assert code == 1
    assert "Input/output error" in process.output
    faulty.suffer(proto="cggmp24-test/v2")
    faulty.start()
    try:
        for node in (committee.nodes[0], faulty):
            node.running.wait_for("bring all nodes to one release")
        error = await fails(signs(committee.nodes[0], "two releases", signers=(0, 1)))
        assert error.reason == "THRESHOLD_NOT_MET"
        await asyncio.to_thread(warned, committee.nodes[0], "index 1.*bring all nodes to one release")
        assert (await signs_in_the_end(committee.nodes[0], "one release")).signers == [0, 2]
        await siege.check()
    finally:
        faulty.kill()


@pytest.mark.fault(22)
async def test_no_random_bytes(siege):
    """A node without them says nothing that needs some, and goes on when they are there."""
    committee, faulty = siege.committee, siege.committee.nodes[1]
    await asyncio.to_thread(faulty.suffer, random=False)
    said = slots_of(siege, 1)
    await fails(signs(committee.nodes[0], "not random", signers=(0, 1)))
    await fails(signs(faulty, "own randomness", signers=(0, 1)))
    assert slots_of(siege, 1) == said
    assert (await signs_in_the_end(committee.nodes[0], "without random")).signers == [0, 2]
    faulty.suffer()
    await signs_in_the_end(faulty, "own randomness", signers=(0, 1))


@pytest.mark.fault(22)
async def test_no_more_files(siege):
    """A node that may open nothing more neither ends nor lies; it goes on when it may again."""
    nodes = siege.committee.nodes
    opened = open_files(nodes[1])
    with limited(nodes[1], resource.RLIMIT_NOFILE, opened):
        answer = await signs_in_the_end(nodes[0], "without files")
        assert len(answer.signers) == 2
    siege.committee.wait_ready()
    await signs_in_the_end(nodes[1], "files again", signers=(0, 1))
    await siege.check()


@pytest.mark.fault(22)
async def test_a_node_that_stands_still(siege):
    """The others give it up, unblamed; woken, it says nothing more in the session that is over."""
    gateway, nodes = siege.gateway, siege.committee.nodes
    before = len(gateway.posts)
    gateway.mischief = Withheld(lambda post, side: post.room.startswith("session_") and side == 1)
    call = asyncio.ensure_future(fails(signs(nodes[0], "still", signers=(0, 1))))

    def has_repeated_itself() -> bool:
        """What waited to be posted before that is posted."""
        posts = [post for post in gateway.posts[before:] if (post.side, post.room[:8]) == (1, "session_")]
        said = [envelope for post in posts for envelope in post.envelopes]
        return len(said) > len(set(said))

    await asyncio.to_thread(gateway.until, has_repeated_itself, "it waits in the session")
    with stopped(nodes[1]):
        assert (await call).reason in {"THRESHOLD_NOT_MET", "TIMEOUT"}
        said = slots_of(siege, 1)
        scopes = {routing(post.envelope)[0] for post in gateway.posts if post.room.startswith("session_")}
        siege.behave()
    await signs_in_the_end(nodes[1], "awake", signers=(0, 1))
    stale = [one for one in slots_of(siege, 1) - said if routing(one)[0] in scopes]
    assert not stale
    await signs_in_the_end(nodes[0], "still", signers=(0, 1))
    await siege.check()
