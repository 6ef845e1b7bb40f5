"""Whole nodes bring an account to another committee (protocol.md 2.3): same key, other holders, old shares destroyed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import nacl.signing
import pytest
from gateway_testing import running_gateway
from node_network import PATIENT, last, network, nothing, poll, request_id_of, sign_call
from reshare_network import (
    approve,
    ask,
    committee,
    has_share,
    holds,
    index_in,
    newcomers,
    reshare,
    signs,
    until,
    until_complete,
)
from tss_testing import SMALL_SECP

from participant.node.api import SignCall
from participant.node.errors import (
    AccountUnknown,
    CeremonyFailed,
    CommitteeNotFound,
    GatewayUnreachable,
    InvalidRequest,
    PartiesMissing,
    PeerAtFault,
)
from participant.node.following import Course
from participant.payloads import Message
from participant.reshare_request import BadRequest
from tss.envelope import Kind, routing

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def test_a_node_is_replaced(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = committee(2, net[0], net[1], carol)
        for member in (net[0], net[1], carol):
            member.add_primes()
        request = await approve(await ask(net[0], "alice", new, dealers=(0, 1)), net[0], net[1], carol)
        view = await reshare(net[0], request)
        assert view.complete, view.summary
        now = await holds("alice", new, net[0], net[1], carol)
        assert (now.public_key, now.addresses) == (before.public_key, before.addresses)
        assert now.key_id != before.key_id
        await signs("alice", new, carol, net[1])
        # The node that left was no dealer: it learns from the others that its share is worth nothing, and destroys it.
        await poll(lambda: not has_share(net[2], "alice", before.key_id))
        assert not any(has_share(member, "alice", before.key_id) for member in net)


async def test_a_committee_that_all_accounts_have_left(tmp_path, gateway):
    """Nobody is asked which committee is meant, or paged for its members: unless the settings still name it."""
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        new = committee(2, net[0], net[1], carol)
        for member in (net[0], net[1], carol):
            member.add_primes()
        request = await approve(await ask(net[0], "alice", new), *net, carol)
        assert (await reshare(net[0], request)).complete
        await holds("alice", new, net[0], net[1], carol)
        old = net.committee.committee_id
        left = {view.committee.committee_id: view.is_left for view in net[0].node.committees()}
        assert left == {old: False, new.committee_id: False}
        with pytest.raises(CommitteeNotFound, match="a member of 2 committees: name one"):
            net[0].node.peers()
        net[0].config = replace(net[0].config, committees=(new,))
        await net[0].stop()
        await net[0].start()
        left = {view.committee.committee_id: view.is_left for view in net[0].node.committees()}
        assert left == {old: True, new.committee_id: False}
        assert [peer.identity for peer in net[0].node.peers()] == list(new.identities)
        await poll(lambda: _hears(net[0], old, 1))


def _hears(member, committee_id, index):
    """A committee that was left is listened to: who was away learns there what became of its accounts."""
    return member.node.peers(committee_id)[index].online


async def test_from_two_of_three_to_three_of_five(tmp_path, gateway):
    """All old members deal; two of them stay, one goes."""
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 3) as fresh:
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        holders = [net[0], net[1], *fresh]
        new = committee(3, *holders)
        for member in holders:
            member.add_primes()
        request = await approve(await ask(net[2], "alice", new), *net, *fresh)
        assert (await reshare(net[2], request)).complete
        now = await holds("alice", new, *holders)
        assert (now.public_key, now.threshold, now.parties) == (before.public_key, 3, 5)
        await signs("alice", new, net[1], fresh[0], fresh[2])
        with pytest.raises(AccountUnknown, match=f"went to committee {new.committee_id.hex()}"):
            await net[2].node.sign(sign_call("alice", "in the old committee"))


async def test_a_member_is_removed_and_one_is_away(tmp_path, gateway):
    """The one that is away destroys its share when it comes back, by the others' signed words, and tells everybody."""
    async with network(tmp_path, gateway.url, n=4, t=2) as net:
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        await net[3].stop()
        new = committee(2, net[0], net[1])
        for member in (net[0], net[1]):
            member.add_primes()
        request = await approve(await ask(net[0], "alice", new, dealers=(0, 1)), net[0], net[1])
        view = await reshare(net[1], request)
        await holds("alice", new, net[0], net[1])
        await signs("alice", new, net[0], net[1])
        # 4-2+1 = 3 of the old ones have to destroy theirs; index 2 was no dealer, and does it by itself.
        await poll(lambda: not has_share(net[2], "alice", before.key_id))
        assert view.certified
        await until_complete(net[0], request)
        assert not has_share(net[0], "alice", before.key_id)
        await net[3].start()
        await poll(lambda: not has_share(net[3], "alice", before.key_id))
        assert net[3].store.resharings.moved(before.key_id) is not None


async def test_the_old_committee_can_sign_until_enough_shares_are_destroyed(tmp_path, gateway):
    """It is said, also after a restart, until enough signed words are there."""
    async with network(tmp_path, gateway.url, n=4, t=2) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        for index in (2, 3):
            await net[index].stop()
        new = committee(2, net[0], carol)
        for member in (net[0], carol):
            member.add_primes()
        parties = (net[0], net[1], carol)
        request = await approve(await ask(net[0], "alice", new, dealers=(0, 1)), *parties)
        await reshare(net[0], request)
        for member in (net[0], carol):
            await member.restart()
        for member in parties:
            await until(member, request, lambda view: view.certified and len(view.deleted) == 2)
        (view,) = await carol.node.resharings()
        assert not view.complete
        assert (view.deletions_due, view.not_deleted) == (3, (2, 3))
        assert "the old committee can still sign: 2 of 3 signed deletions" in view.summary
        assert any("can still sign" in line for line in carol.node.status().warnings)
        await net[2].start()
        for member in parties:
            await until_complete(member, request)
        assert not any("can still sign" in line for line in carol.node.status().warnings)
        assert not has_share(net[2], "alice", before.key_id)


async def test_an_ed25519_account_goes_without_primes(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        before = await last(net[0].node.create_account("ed", curve="ed25519"))
        await net.ready("ed")
        new = committee(2, net[1], net[2], carol)
        request = await approve(await ask(net[0], "ed", new), *net, carol)
        assert (await reshare(carol, request)).complete
        now = await holds("ed", new, net[1], net[2], carol)
        assert now.public_key == before.public_key
        points = tuple(sorted(index_in(new, member) for member in (net[1], carol)))
        call = SignCall(request_id_of("moved"), "ed", Message(b"after it moved", "none"), signers=points)
        result = await carol.node.sign(call)
        nacl.signing.VerifyKey(before.public_key).verify(b"after it moved", result.signature)


async def test_without_a_gateway_the_error_says_so(tmp_path):
    with running_gateway(tmp_path) as gateway:
        async with network(tmp_path, gateway.url, config=replace(PATIENT, gather=0.3)) as net:
            net.deal("alice")
            await net.ready("alice")
            request = await approve(await ask(net[0], "alice", committee(2, net[0], net[1])), net[0])
            gateway.process.kill()
            await poll(lambda: not net[0].node.status().gateway_connected)
            with pytest.raises(GatewayUnreachable, match="Connection refused"):
                await reshare(net[0], request)


async def test_no_machine_takes_part_because_a_peer_says_so(tmp_path, gateway):
    """Without its operator's approval a node does not even come into the room; a proposal elsewhere is declined with words."""
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        new = committee(2, net[0], net[1], carol)
        text = await ask(net[0], "alice", new, dealers=(0, 1))
        with pytest.raises(InvalidRequest, match="neither one of its dealers nor a member"):
            await net[2].node.approve(text)
        request = await approve(text, net[0], net[1])
        net[0].node._ceremonies._config = replace(PATIENT, gather=0.3)
        with pytest.raises(PartiesMissing, match=r"new \d cannot be heard.*mpc-keygen approve"):
            await reshare(net[0], request)
        # The same request in the old committee's own room, where everybody is.
        membership = net[0].node._memberships[net.committee.committee_id]
        terms = net[0].node._resharing._requests.get(request).terms.tail()
        course = Course(("reshare",))
        with pytest.raises(CeremonyFailed, match="its operator has to approve the request"):
            await last(
                net[0].node._ceremonies.run(membership, SMALL_SECP, "reshare", "alice", terms, None, course)
            )
        # Approved and withdrawn is not approved.
        for member in (net[0], net[1]):
            await member.node.withdraw_approval(request)
        with pytest.raises(InvalidRequest, match="is approved and open"):
            await reshare(net[0], request)
        assert net[0].node.account("alice").committee_id == net.committee.committee_id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda terms: replace(terms, c_hash=b"\x0c" * 32), "hash of the chain code"),
        (lambda terms: replace(terms, key_id=b"\x0c" * 32), "key_id"),
        (lambda terms: replace(terms, share_epoch=b"\x0c" * 32), "share epoch"),
        (
            lambda terms: replace(terms, X=2 * terms.X, dealers={i: 2 * X for i, X in terms.dealers.items()}),
            "public key",
        ),
        (lambda terms: replace(terms, X=2 * terms.X), "do not give the public key"),
        (
            lambda terms: replace(terms, dealers={1: terms.dealers[2], 2: terms.dealers[1]}),
            "do not give the public key",
        ),
        (lambda terms: replace(terms, t=3), "2 dealers, where 3 hold enough"),
        (lambda terms: replace(terms, new_t=4), "is no threshold"),
    ],
    ids=["c-hash", "key_id", "epoch", "another key", "wrong X", "wrong D", "t", "t'"],
)
async def test_a_file_that_a_dealer_knows_better_is_refused(tmp_path, gateway, change, words):
    async with network(tmp_path, gateway.url, start=(0,)) as net:
        net.deal("alice", only=(0,))
        new = committee(2, net[0], net[2])
        request = net[0].node._resharing.request("alice", new, None, (0, 1))
        with pytest.raises((InvalidRequest, BadRequest), match=words):
            await net[0].node.approve(replace(request, terms=change(request.terms)).to_yaml())
        assert await net[0].node.resharings() == []


async def test_a_dealer_that_lies_is_blamed_and_the_account_stays(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = committee(2, net[1], net[2], carol)
        for member in (net[1], net[2], carol):
            member.add_primes()
        account = net[0].node._records.account("alice")
        request = await approve(await ask(net[0], "alice", new), *net, carol)
        # It deals another share than it has: C_0 is not lam*X.
        lying = replace(account.share, x=account.share.x + 1)
        net[0].node._records._shares["alice"] = (account.record.share_epoch, lying, account.keys)
        with pytest.raises(PeerAtFault, match="does not begin with the dealer's share"):
            await reshare(net[1], request)
        liar = net[0].keys.identity
        for member in (net[1], net[2], carol):
            await poll(lambda member=member: liar in {mark.identity for mark in member.node.quarantine()})  # type: ignore[misc]
        assert [view.certified for view in await net[1].node.resharings()] == [False]
        assert has_share(net[1], "alice", before.key_id)
        await signs("alice", net.committee, net[1], net[2], name="in the old committee")


def dones(envelope: bytes) -> bool:
    """What completes a run."""
    return routing(envelope)[1] is Kind.DONE


@pytest.mark.attack("C8")
async def test_a_certificate_that_a_new_member_and_a_dealer_lack_reaches_them_later(tmp_path, gateway):
    """One new member holds its share as pending, one dealer does not know that it is over: both learn it from the others."""
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 2) as (carol, dave):
        before = await last(net[0].node.create_account("ed", curve="ed25519"))
        await net.ready("ed")
        new = committee(2, net[0], carol, dave)
        parties = (net[0], net[1], carol, dave)
        request = await approve(await ask(net[0], "ed", new, dealers=(0, 1)), *parties)
        for member in (net[1], carol):
            member.channel.deaf = dones
        running = asyncio.ensure_future(reshare(dave, request))
        await until(dave, request, lambda view: view.certified)
        assert carol.store.sessions.pending_sids()
        assert has_share(net[1], "ed", before.key_id)
        for member in (net[1], carol):
            member.channel.deaf = nothing
            await member.restart()
        assert (await running).complete
        await holds("ed", new, net[0], carol, dave)
        await until_complete(net[1], request)
        assert not carol.store.sessions.pending_sids()
        assert not any(has_share(member, "ed", before.key_id) for member in net)
