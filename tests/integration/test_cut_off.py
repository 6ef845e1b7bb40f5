"""Nodes that are cut off from each other: whole, one way, too late, or for one last message; and what is so when they meet again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest
from committee_processes import CommitteeProcesses, create_account
from fault_testing import (
    ROUNDS,
    SHORT,
    Besieged,
    besieged_committee,
    check_said,
    fails,
    fill_stock,
    signs,
    signs_in_the_end,
)
from hostile_gateway import Mischief, Post
from killing import eventually
from mischief import Withheld, kind_of

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed
from tss.envelope import Kind, Sealed, decode_body, unpack


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[Besieged]:
    with besieged_committee(tmp_path_factory.mktemp("committee"), settings=SHORT) as besieged:
        yield besieged


@pytest.fixture
def siege(besieged) -> Iterator[Besieged]:
    yield besieged
    besieged.behave()
    for side in range(besieged.gateway.sides):
        besieged.gateway.unblock(side)
    besieged.committee.wait_ready()


def spoken_by(side: int) -> Callable[[Post], bool]:
    """What one node says, but that it is there."""
    return lambda post: post.side == side and kind_of(post.envelope) is not Kind.HELLO


@pytest.mark.fault(17)
@pytest.mark.parametrize("direction", ["is not heard", "hears nothing"][: 2 if ROUNDS > 1 else 1])
async def test_a_one_way_link(siege, direction):
    """A signature there is not, and nobody is blamed; when the link is whole the same requests succeed."""
    if direction == "is not heard":
        siege.gateway.mischief = Withheld(lambda post, side: spoken_by(1)(post) and side != 1)
    else:
        siege.gateway.mischief = Withheld(
            lambda post, side: side == 1 and post.side != 1 and kind_of(post.envelope) is not Kind.HELLO
        )
    nodes = siege.committee.nodes
    asked, other = await asyncio.gather(
        fails(signs(nodes[0], ("one way", direction, 0), signers=(0, 1))),
        fails(signs(nodes[1], ("one way", direction, 1), signers=(0, 1))),
    )
    assert {asked.reason, other.reason} <= {"THRESHOLD_NOT_MET", "TIMEOUT", "PEER_UNRESPONSIVE"}, (
        asked,
        other,
    )
    assert (await signs(nodes[0], ("one way", direction, "others"))).signers == [0, 2]
    siege.behave()
    for index in (0, 1):
        await signs_in_the_end(nodes[index], ("one way", direction, index), signers=(0, 1))
    await siege.check()


@pytest.mark.fault(5)
async def test_who_is_too_late_is_replaced_and_not_blamed(siege):
    """Every message of one node takes longer than a phase may last."""

    class Late(Mischief):
        def relay(self, post, _side):
            return [(30.0 if spoken_by(1)(post) else 0.0, post.body)]

    siege.gateway.mischief = Late()
    answer = await signs_in_the_end(siege.committee.nodes[0], "late")
    assert answer.signers == [0, 2]
    error = await fails(signs(siege.committee.nodes[0], "too late", signers=(0, 1)))
    assert error.reason in {"THRESHOLD_NOT_MET", "TIMEOUT"}, error
    await siege.check()


@pytest.mark.fault(16)
async def test_a_partition_and_its_end(siege):
    """The larger part signs, the smaller says why it does not; afterwards all do, with the key as it was."""
    gateway, nodes = siege.gateway, siege.committee.nodes
    gateway.block(2)
    await signs_in_the_end(nodes[0], "the larger part", signers=(0, 1))
    error = await fails(signs(nodes[2], "the smaller part"))
    assert error.reason in {"GATEWAY_UNREACHABLE", "THRESHOLD_NOT_MET"}, error
    assert "gateway" in str(nodes[2].failing())
    gateway.unblock(2)
    siege.committee.wait_ready()
    for index, signers in enumerate(((0, 2), (1, 2), (0, 1))):
        await signs_in_the_end(nodes[signers[0]], ("healed", index), signers=signers)
    accounts = await all_of(siege.committee, "main")
    assert len({(one.public_key, one.share_epoch) for one in accounts if one is not None}) == 1
    await siege.check()


async def all_of(committee: CommitteeProcesses, account_id: str) -> list[common.Account | None]:
    """The active account at each node."""
    found: list[common.Account | None] = []
    for node in committee.nodes:
        async with node.client() as client:
            try:
                one = await client.call(
                    client.wallet.GetAccount, wallet.GetAccountRequest(account_id=account_id)
                )
            except CallFailed:
                found.append(None)
            else:
                found.append(one if one.state == common.ACCOUNT_STATE_ACTIVE else None)
    return found


@pytest.mark.fault(16)
@pytest.mark.fault(18)
async def test_a_partition_while_a_key_is_completed(siege):
    """One node is cut off before it has heard anybody's last message; when it is back all have the key."""
    gateway, committee = siege.gateway, siege.committee
    late = Withheld(
        lambda post, side: kind_of(post.envelope) is Kind.DONE and (side == 2) != (post.side == 2)
    )
    gateway.mischief = late

    async def create() -> None:
        async with committee.nodes[0].client() as client:
            await create_account(client, "cut off")

    call = asyncio.ensure_future(create())
    dones = {0, 1, 2}
    await asyncio.to_thread(
        gateway.until,
        lambda: dones <= {post.side for post in gateway.posts if is_new_done(post)},
        "all have said that they are done",
    )
    gateway.block(2)
    assert await all_of(committee, "cut off") == [None, None, None], "shown when it is certain"
    siege.behave()
    gateway.unblock(2)
    gateway.forget()

    async def all_have() -> bool:
        accounts = await all_of(committee, "cut off")
        return len({one.public_key for one in accounts if one is not None}) == 1 and None not in accounts

    await eventually(all_have, "everybody has the key")
    with contextlib.suppress(CallFailed):
        await call
    await signs_in_the_end(committee.nodes[2], "after the cut", account_id="cut off", signers=(1, 2))
    await siege.check()


def is_new_done(post: Post) -> bool:
    return kind_of(post.envelope) is Kind.DONE


def is_partial(post: Post, side: int) -> bool:
    """Whether it is what a node says in signing from stock: one message each."""
    parts = unpack(post.envelope)
    if isinstance(parts, Sealed) or not post.room.startswith("committee_"):
        return False
    body = decode_body(parts[0])
    return body.kind is Kind.MSG and post.side == side


@pytest.mark.fault(18)
async def test_the_last_partial_signature_is_lost(siege):
    """Its sender has the signature, the other has not: the same request gives the same one for ever."""
    nodes = siege.committee.nodes
    await fill_stock(nodes[0], (0, 1))
    siege.gateway.mischief = Withheld(lambda post, side: is_partial(post, 0) and side == 1)
    first = await signs(nodes[0], "last", signers=(0, 1))
    assert first.from_stock
    assert await signs(nodes[0], "last", signers=(0, 1)) == first
    siege.behave()
    assert await signs(nodes[0], "last", signers=(0, 1)) == first
    await signs_in_the_end(nodes[1], "next", signers=(0, 1))
    await siege.check()


@pytest.mark.fault(18)
async def test_the_first_partial_signature_is_lost(siege):
    """The presignature has answered and is gone: what is signed later is signed with another one."""
    nodes = siege.committee.nodes
    await fill_stock(nodes[0], (0, 1))
    before = check_said(siege.gateway, siege.committee)["presignatures"]
    siege.gateway.mischief = Withheld(lambda post, side: is_partial(post, 1) and side == 0)
    await fails(signs(nodes[0], "first", signers=(0, 1)))
    siege.behave()
    answer = await signs_in_the_end(nodes[0], "first", signers=(0, 1))
    assert not answer.from_stock
    assert check_said(siege.gateway, siege.committee)["presignatures"] == before + 1
    await siege.check()
