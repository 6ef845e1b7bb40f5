"""Nodes of two committees, and the way of an account from one to the other.

async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
    new = committee(2, net[0], net[1], carol)
    request = await ask(net[0], "alice", new)
    await approve(request, net[0], net[1], carol)
    view = await reshare(net[0], request)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from node_network import PATIENT, Member, Network, check_signature, digest_of, last, poll, sign_call
from node_testing import node_keys, wrapper

from participant.committee import Committee
from participant.node.api import AccountView, ReshareView
from participant.policy import RulePolicy, permissive_development_policy
from participant.store import KeyShareNotFound, Store

NEWCOMER = 100
"""The test's number of the first of them; members of a network have their index."""


@asynccontextmanager
async def newcomers(net: Network, directory: Path, count: int) -> AsyncIterator[list[Member]]:
    """Running nodes that are in no committee yet."""
    url = net[0].gateway_url
    members = []
    for number, keys in enumerate(node_keys(count, ("newcomers", net.seed))):
        path = directory / f"newcomer-{number}.db"
        with Store.create(path, wrapper()) as store:
            store.put_identity(keys)
        config = replace(PATIENT, committees=(), gateway_url=url)
        policy = RulePolicy(permissive_development_policy())
        members.append(Member(NEWCOMER + number, keys, path, url, config, policy))
    try:
        for member in members:
            await member.start()
        yield members
    finally:
        await asyncio.gather(*(member.stop() for member in members))


def committee(t: int, *members: Member) -> Committee:
    """Of these nodes, which are in the order of its indices afterwards only by their identities."""
    return Committee.of([member.keys.card() for member in members], t)


def index_in(of: Committee, member: Member) -> int:
    return of.index_of(member.keys.identity)


async def ask(
    member: Member, account_id: str, new: Committee, *, dealers: Sequence[int] | None = None
) -> str:
    """The request file."""
    text, _ = await member.node.reshare_request(account_id, new, None, dealers)
    return text


async def approve(text: str, *members: Member) -> bytes:
    """All these operators approve; the request's id."""
    views = [await member.node.approve(text) for member in members]
    (request_id,) = {view.request_id for view in views}
    return request_id


async def reshare(member: Member, request_id: bytes) -> ReshareView:
    view = await last(member.node.reshare(request_id))
    assert isinstance(view, ReshareView)
    return view


async def until(member: Member, request_id: bytes, holds: Callable[[ReshareView], bool]) -> None:
    """Wait until something holds of what a node's operator is shown."""

    def shown() -> bool:
        views = {view.request_id: view for view in member.node._resharing.views()}
        return request_id in views and holds(views[request_id])

    await poll(shown)


async def until_complete(member: Member, request_id: bytes) -> None:
    await until(member, request_id, lambda view: view.complete)


async def holds(account_id: str, new: Committee, *members: Member) -> AccountView:
    """Wait until these nodes hold the account in one epoch of the new committee, and see each other there."""

    def moved() -> bool:
        views = [member.node.accounts(new.committee_id) for member in members]
        epochs = {view.share_epoch for found in views for view in found if view.account_id == account_id}
        return all(any(v.account_id == account_id for v in found) for found in views) and len(epochs) == 1

    await poll(moved)
    for member in members:
        await poll(lambda member=member: _sees(member, new, members))  # type: ignore[misc]
    return members[0].node.account(account_id)


def _sees(member: Member, new: Committee, others: Sequence[Member]) -> bool:
    peers = member.node.peers(new.committee_id)
    return all(peers[index_in(new, other)].online for other in others)


async def signs(account_id: str, new: Committee, *signers: Member, name: str = "after") -> bytes:
    """These sign together, and the signature is the key's; the public key."""
    digest = (account_id, name)
    points = tuple(sorted(index_in(new, member) for member in signers))
    result = await signers[0].node.sign(sign_call(account_id, digest, signers=points))
    public_key = signers[0].node.account(account_id).public_key
    check_signature(result, digest_of(digest), public_key)
    return public_key


def has_share(member: Member, account_id: str, key_id: bytes) -> bool:
    """Whether a share of this key, of before its resharing, is in a node's store."""
    try:
        return member.store.accounts.account(account_id).key_id == key_id
    except KeyShareNotFound:
        return False
