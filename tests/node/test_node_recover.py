"""Whole nodes give one of them its lost shares back (protocol.md 2.4), whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from node_network import PATIENT, check_signature, digest_of, last, network, nothing, poll, sign_call
from recover_network import approve, heard, lose, recover, request_of, settled, signs, signs_ed25519

from participant.node.api import AccountStatus
from participant.node.errors import InvalidRequest, NodeFailure, PartiesMissing
from participant.store.approvals import WITHDRAWN
from tss.envelope import Kind, routing

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.fault(19)
async def test_a_lost_node_comes_back_in_its_place(tmp_path, gateway):
    """With its former identity, on an empty machine; several accounts at once."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice", "bob")
        await net.ready("alice")
        before = {name: net[0].node.account(name) for name in ("alice", "bob")}
        old = net[1].node._records.account("alice").share.x
        new = await lose(net, 1, replaced=False)
        assert new == net.committee
        request_id = await approve(await request_of(net[0], 1, new, "alice", "bob"), *net)
        for member in net:
            member.add_primes()
        view = await recover(net[2], request_id)
        assert view.complete, view.summary
        for name in ("alice", "bob"):
            await settled(net, new, before[name])
        assert net[1].node._records.account("alice").share.x != old, (
            "what is left on the lost device is worth nothing"
        )
        await signs(net, "alice", 1, 2)
        await signs(net, "bob", 0, 1)
        kinds = {entry.record.kind for entry in net[1].store.audit.export()}
        assert {"recover", "recovery", "refresh"} <= kinds


async def test_another_identity_takes_the_place_of_a_lost_one(tmp_path, gateway):
    """The accounts, of both curves, go to the committee with that identity; the lost place asks for it itself."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await last(net[0].node.create_account("ed", curve="ed25519"))
        await net.ready("ed")
        before = {name: net[0].node.account(name) for name in ("alice", "ed")}
        new = await lose(net, 0, replaced=True)
        assert new.committee_id != net.committee.committee_id
        request_id = await approve(await request_of(net[1], 0, new), *net)
        for member in net:
            member.add_primes()
        assert (await recover(net[0], request_id)).complete
        for name in ("alice", "ed"):
            assert (await settled(net, new, before[name])).committee_id == new.committee_id
        await signs(net, "alice", 0, 2)
        await signs_ed25519(net, "ed", 0, 1)
        for member in net:
            assert member.node.accounts(net.committee.committee_id) == [] or member is net[0]
            assert not member.store.check(member.node._records.check_share)
            await poll(lambda member=member: not member.node.quarantine())  # type: ignore[misc]


async def test_who_may_have_the_lost_share_signs_nothing_and_the_others_go_on(tmp_path, gateway):
    """From the approval on, until all members have new shares; the share that came back does not sign either."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        await signs(net, "alice", 0, 1)
        text = await request_of(net[0], 1, net.committee)
        await approve(text, net[0], net[2])
        with pytest.raises(NodeFailure, match="the share of index 1 was lost"):
            await net[0].node.sign(sign_call("alice", "lost", signers=(0, 1)))
        # The lost device may still be there, and ask.
        with pytest.raises(NodeFailure, match="the share of index 1 was lost"):
            await net[1].node.sign(sign_call("alice", "asked for", signers=(1, 2)))
        await signs(net, "alice", 0, 2)
        (view,) = await net[0].node.recoveries()
        assert (view.back, view.settled, view.withdrawn) == ((), (), False)
        for member in (net[0], net[2]):
            await member.node.withdraw_approval(view.request_id)
        assert (await net[0].node.recoveries())[0].summary == "withdrawn"
        await signs(net, "alice", 1, 2)


async def test_what_operators_know_decides(tmp_path, gateway):
    quick = replace(PATIENT, gather=0.5)
    async with network(tmp_path, gateway.url, config=quick) as net:
        net.deal("alice", "bob")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = await lose(net, 1, replaced=False)
        text = await request_of(net[0], 1, new, "alice")
        alice, bob = (net[0].node.account(name).public_key for name in ("alice", "bob"))
        with pytest.raises(InvalidRequest, match="another public key for account 'alice'"):
            await net[1].node.approve_recovery(text, {"alice": bob})
        with pytest.raises(InvalidRequest, match="changed after it was made"):
            await net[1].node.approve_recovery(re.sub("(?m)^request: .*", f"request: {'ab' * 32}", text))
        other = await request_of(net[0], 1, new, "bob")
        with pytest.raises(InvalidRequest, match="do not give the key"):
            await net[1].node.approve_recovery(other.replace(bob.hex(), alice.hex()))
        await net[1].node.approve_recovery(text, {"alice": alice})
        request_id = await approve(text, net[0], net[1])
        with pytest.raises(InvalidRequest, match=r"no request .* was approved on this node"):
            await recover(net[2], request_id)
        with pytest.raises(PartiesMissing, match="helper 2 cannot be heard"):
            await recover(net[0], request_id)
        await approve(text, net[2])
        # Its operator changes its mind while the machine is still in the room.
        await heard(net[0], request_id)
        net[2].store.approvals.end(request_id, WITHDRAWN)
        with pytest.raises(NodeFailure, match=r"its operator has to approve the request"):
            await recover(net[0], request_id)
        assert (await net[1].node.recoveries())[0].back == ()
        assert net[0].node.account("alice").share_epoch == before.share_epoch


async def test_a_helper_that_lies_is_blamed_and_nothing_changes(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = await lose(net, 1, replaced=False)
        request_id = await approve(await request_of(net[0], 1, new), *net)
        records = net[2].node._records
        account = records.account("alice")
        wrong = replace(account.share, x=account.share.x - 1)
        records._shares["alice"] = (before.share_epoch, wrong, account.keys)
        with pytest.raises(NodeFailure):
            await recover(net[1], request_id)
        assert [entry.index for entry in net[1].node.quarantine()] == [2]
        assert [entry.index for entry in net[0].node.quarantine()] in ([], [2])
        assert (await net[1].node.recoveries())[0].back == ()
        assert net[1].node.accounts() == []
        assert net[0].node.account("alice").share_epoch == before.share_epoch


def is_refresh(envelope: bytes) -> bool:
    return routing(envelope)[1] is Kind.PROPOSE and b"refresh" in envelope


def dones(envelope: bytes) -> bool:
    return routing(envelope)[1] is Kind.DONE


@pytest.mark.fault(20)
async def test_a_share_that_is_back_waits_for_the_new_ones_through_restarts(tmp_path, gateway):
    """Wherever it stops, all come to one state: first with the share back and no refresh, then without the certificate."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = await lose(net, 1, replaced=True)
        request_id = await approve(await request_of(net[2], 1, new), *net)
        for member in net:
            member.add_primes()
        net[2].channel.mute = is_refresh
        running = asyncio.ensure_future(recover(net[2], request_id))
        await poll(lambda: net[1].store.recoveries.is_back("alice", before.key_id))
        running.cancel()
        for member in (net[2], net[1]):
            await member.restart()
        (view,) = await net[1].node.recoveries()
        assert (view.back, view.complete) == (("alice",), False)
        assert net[1].node.accounts() == []
        assert not net[1].store.check()
        await signs(net, "alice", 0, 2)
        # Again, and the place that gets its share back hears nobody's done.
        net[1].channel.deaf = dones
        view = await recover(net[2], request_id)
        await poll(lambda: net[0].node.account("alice").committee_id == new.committee_id)
        assert [account.status for account in net[1].node.accounts()] == [AccountStatus.PENDING]
        result = await net[0].node.sign(sign_call("alice", "without it", signers=(0, 2)))
        check_signature(result, digest_of("without it"), before.public_key)
        net[1].channel.deaf = nothing
        await net[1].restart()
        await settled(net, new, before)
        await signs(net, "alice", 1, 2)
        assert (await net[1].node.recoveries())[0].complete
        # What is complete is not run a second time.
        assert (await recover(net[0], request_id)).complete
