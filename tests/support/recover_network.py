"""Nodes of which one loses everything, and the way of its shares back to their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nacl.signing
from node_network import (
    Member,
    Network,
    _holders,
    check_signature,
    digest_of,
    last,
    poll,
    request_id_of,
    sign_call,
)
from node_testing import wrapper
from tss_testing import SeededRng

from participant.committee import Committee
from participant.node.api import AccountView, RecoveryView, SignCall
from participant.payloads import Message
from participant.replacement import keys_for_place, with_member
from participant.store import Store


async def lose(net: Network, index: int, *, replaced: bool) -> Committee:
    """The node of this index is gone with its store; it runs again on an empty one. The committee from now on."""
    lost = net[index]
    await lost.stop()
    for path in lost.path.parent.glob(f"{lost.path.name}*"):
        path.unlink()
    new = net.committee
    if replaced:
        lost.keys = keys_for_place(net.committee, index, SeededRng(("replacement", net.seed)))
        new = with_member(net.committee, index, lost.keys.card())
    with Store.create(lost.path, wrapper()) as store:
        store.put_identity(lost.keys)
    lost.config = replace(lost.config, committees=(new,))
    await lost.start()
    return new


async def request_of(
    member: Member, lost: int, new: Committee, *names: str, helpers: Sequence[int] | None = None
) -> str:
    """The request file."""
    text, _ = await member.node.recover_request(lost, new, helpers, names)
    return text


async def approve(text: str, *members: Member) -> bytes:
    """All these operators approve; the request's id."""
    views = [await member.node.approve_recovery(text) for member in members]
    (request_id,) = {view.request_id for view in views}
    return request_id


async def recover(member: Member, request_id: bytes) -> RecoveryView:
    view = await last(member.node.recover(request_id))
    assert isinstance(view, RecoveryView)
    return view


async def settled(net: Network, new: Committee, before: AccountView) -> AccountView:
    """Wait until all nodes hold the account in one new epoch of the committee; the key is as it was."""
    name = before.account_id

    def moved() -> bool:
        found = [v for member in net for v in member.node.accounts(new.committee_id) if v.account_id == name]
        epochs = {(view.share_epoch, view.aux_id) for view in found}
        return (
            len(found) == len(net.members)
            and len(epochs) == 1
            and before.share_epoch not in {epoch for epoch, _ in epochs}
        )

    await poll(moved)
    now = net[0].node.account(name)
    same = ("public_key", "key_id", "threshold", "addresses")
    assert [getattr(now, key) for key in same] == [getattr(before, key) for key in same]
    assert now.share_epoch != before.share_epoch
    assert len({member.node._records.account(name).keys.chain_code for member in net}) == 1
    for member in net:
        await poll(lambda member=member: all(p.online for p in member.node.peers(new.committee_id)))  # type: ignore[misc]
    await poll(lambda: all(_holders(member, name, net.members) for member in net))
    return now


async def signs(net: Network, account_id: str, *signers: int) -> None:
    digest = (account_id, signers)
    result = await net[signers[0]].node.sign(sign_call(account_id, digest, signers=signers))
    check_signature(result, digest_of(digest), net[0].node.account(account_id).public_key)


async def signs_ed25519(net: Network, account_id: str, *signers: int) -> None:
    message = repr((account_id, signers)).encode()
    call = SignCall(request_id_of(message), account_id, Message(message, "none"), signers=signers)
    result = await net[signers[0]].node.sign(call)
    public_key = net[signers[0]].node.account(account_id).public_key
    nacl.signing.VerifyKey(public_key).verify(message, result.signature)


async def heard(member: Member, request_id: bytes) -> None:
    """Wait until this node hears everybody else whom a request needs."""
    gathering = member.node._recovering._gatherings[request_id]
    await poll(lambda: all(gathering.presence.is_present(party) for party in gathering.others))
