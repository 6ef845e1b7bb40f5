"""Whole nodes refresh their accounts (protocol.md 2.2, 0.8): new shares, same key, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import nacl.signing
import pytest
from node_network import (
    PATIENT,
    Member,
    Network,
    check_signature,
    digest_of,
    last,
    network,
    nothing,
    poll,
    request_id_of,
    sign_call,
)

from participant.node.api import AccountView, RefreshView, SignCall
from participant.node.config import RefreshSettings, StockSettings
from participant.node.errors import InvalidRequest, PolicyRefused
from participant.payloads import Message
from participant.policy import AccountRule, CeremonyRule, PolicySettings
from tss.envelope import Kind, routing

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

NO_REFRESH = PolicySettings(
    rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], raw_digests=True)],
    ceremonies=[CeremonyRule(kinds=["aux", "presign", "keygen"], callers=["*"], proposers=["*"])],
)


async def refresh(member: Member, *account_ids: str) -> RefreshView:
    view = await last(member.node.refresh_accounts(account_ids=account_ids))
    assert isinstance(view, RefreshView)
    return view


def views(net: Network, account_id: str) -> list[AccountView]:
    return [member.node.account(account_id) for member in net]


def pair(view: AccountView) -> tuple[bytes, bytes | None]:
    return view.share_epoch, view.aux_id


async def agreed(net: Network, account_id: str, before: AccountView) -> AccountView:
    """Wait until all nodes have moved to one new pair; everything else is as it was."""

    def moved() -> bool:
        pairs = {pair(view) for view in views(net, account_id)}
        return len(pairs) == 1 and pair(before) not in pairs

    await poll(moved)
    now = net[0].node.account(account_id)
    same = ("public_key", "key_id", "threshold", "addresses", "committee_id", "created_at")
    assert [getattr(now, name) for name in same] == [getattr(before, name) for name in same]
    assert len({member.node._records.account(account_id).keys.chain_code for member in net}) == 1
    await net.ready(account_id)
    return now


def dones(envelope: bytes) -> bool:
    """What completes a run."""
    return routing(envelope)[1] is Kind.DONE


async def refreshed_but_one(net: Network) -> AccountView:
    """Refresh "alice" while node 2 hears no word that completes it; the account as it was before."""
    net.deal("alice")
    await net.ready("alice")
    for member in net:
        member.add_primes()
    before = net[0].node.account("alice")
    net[2].channel.deaf = dones
    await refresh(net[0], "alice")
    await poll(lambda: pair(net[1].node.account("alice")) != pair(before))
    return before


async def signs(net: Network, account_id: str, *signers: int, name: str = "") -> None:
    digest = (name or account_id, signers)
    result = await net[signers[0]].node.sign(sign_call(account_id, digest, signers=signers))
    check_signature(result, digest_of(digest), net[0].node.account(account_id).public_key)


def epochs(member: Member, account_id: str) -> list[bool]:
    """Of every share in the store, whether a newer one replaced it."""
    return [share.superseded for share in member.store.accounts.shares(account_id)]


async def test_new_shares_of_the_same_keys(tmp_path, gateway):
    stocked = replace(PATIENT, stock=StockSettings(target=0, pool=0))
    async with network(tmp_path, gateway.url, config=stocked) as net:
        net.deal("alice", "bob")
        for name in ("alice", "bob"):
            await net.ready(name)
        for member in net:
            member.add_primes()
        before = {name: net[0].node.account(name) for name in ("alice", "bob")}
        old = [member.node._records.account("alice").share.x for member in net]
        await last(net[0].node.fill_stock("alice", (0, 1), 2))
        await last(net[0].node.fill_stock("bob", (0, 1), 1))
        made = await refresh(net[1], "alice")
        assert [view.account_id for view in made.accounts] == ["alice"]
        now = await agreed(net, "alice", before["alice"])
        assert pair(made.accounts[0]) == pair(now)
        new = [member.node._records.account("alice").share.x for member in net]
        assert not set(new) & set(old)
        # Presignatures of the old pair are gone, those of an account that stayed where it was are not.
        assert not any(
            entry.fresh for member in net for view in member.node.stock("alice") for entry in view.entries
        )
        assert [pair(view) for view in views(net, "bob")] == [pair(before["bob"])] * 3
        assert any(entry.fresh for entry in net[0].node.stock("bob")[0].entries)
        # The old shares go with the first signature of the new epoch, on those who signed.
        assert [epochs(member, "alice") for member in net] == [[True, False]] * 3
        await signs(net, "alice", 0, 2)
        await poll(lambda: epochs(net[0], "alice") == [False] and epochs(net[2], "alice") == [False])
        assert epochs(net[1], "alice") == [True, False]
        await signs(net, "alice", 1, 2)
        await poll(lambda: epochs(net[1], "alice") == [False])
        await signs(net, "bob", 0, 1)
        for member in net:
            kinds = {entry.record.kind for entry in member.store.audit.export()}
            assert "refresh" in kinds
            assert member.node.status().warnings == ()


async def test_all_accounts_and_signing_meanwhile(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice", "bob")
        for name in ("alice", "bob"):
            await net.ready(name)
        for member in net:
            member.add_primes()
        before = {name: net[0].node.account(name) for name in ("alice", "bob")}
        running = asyncio.ensure_future(refresh(net[0]))
        await poll(lambda: any(driver.kind == "refresh" for driver in net[2].node.sessions()))
        for number in range(3):
            await signs(net, "alice", 1, 2, name=f"during {number}")
        view = await running
        assert sorted(account.account_id for account in view.accounts) == ["alice", "bob"]
        for name in ("alice", "bob"):
            now = await agreed(net, name, before[name])
            await signs(net, name, 0, 1, name=f"{name} after")
            assert now.aux_id == net[0].node.committees()[0].aux_id
        # Nothing points to the old auxiliary information but the shares that were not signed with yet.
        await signs(net, "alice", 1, 2)
        await signs(net, "bob", 1, 2)
        for member in net:
            await poll(lambda member=member: len(member.store.accounts.aux_ids()) == 1)  # type: ignore[misc]


async def test_a_request_from_before_a_refresh_is_signed_after_it(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=replace(PATIENT, max_signing=1)) as net:
        net.deal("alice")
        await net.ready("alice")
        for member in net:
            member.add_primes()
        before = net[0].node.account("alice")
        slots = net[0].node._signing._slots
        async with slots:
            running = asyncio.ensure_future(signs(net, "alice", 0, 1))
            # The request holds the old account when it waits for its turn.
            await poll(lambda: bool(slots._waiters))
            await refresh(net[1], "alice")
            await agreed(net, "alice", before)
        await running


async def test_a_signer_that_is_behind_signs_when_it_has_caught_up(tmp_path, gateway):
    """Asked itself, and asked by a member that believes it to have the new share."""
    async with network(tmp_path, gateway.url) as net:
        before = await refreshed_but_one(net)
        (membership,) = net[0].node._memberships.values()
        membership.presence.holds = lambda _, __: True  # type: ignore[method-assign]
        asked = [asyncio.ensure_future(signs(net, "alice", 2, 1))]
        asked.append(asyncio.ensure_future(signs(net, "alice", 0, 2)))
        await poll(lambda: any("RECORDS_DIFFER" in reason for reason in declined(net[2])))
        net[2].channel.deaf = nothing
        await asyncio.gather(*asked)
        await agreed(net, "alice", before)


def declined(member: Member) -> list[str]:
    """Why a node has not taken part in proposals."""
    return [entry.record.reason or "" for entry in member.store.audit.export()]


async def test_what_is_refused(tmp_path, gateway):
    async with network(tmp_path, gateway.url, policies={2: NO_REFRESH}) as net:
        net.deal("alice")
        await net.ready("alice")
        with pytest.raises(InvalidRequest, match="no account 'carol'"):
            await refresh(net[0], "alice", "carol")
        with pytest.raises(PolicyRefused):
            await refresh(net[0], "alice")
        with pytest.raises(PolicyRefused):
            await refresh(net[2], "alice")
        assert epochs(net[0], "alice") == epochs(net[2], "alice") == [False]


async def test_without_accounts_there_is_nothing_to_do(tmp_path, gateway):
    async with network(tmp_path, gateway.url, start=(0,)) as net:
        with pytest.raises(InvalidRequest, match="no account to refresh"):
            await refresh(net[0])


@pytest.mark.attack("C8")
async def test_a_certificate_that_one_node_lacks_reaches_it_later(tmp_path, gateway):
    """It is behind for a while, holds the new share as pending, and catches up by what the others hold."""
    async with network(tmp_path, gateway.url) as net:
        before = await refreshed_but_one(net)
        assert pair(net[2].node.account("alice")) == pair(before)
        assert any("wait for the certificate" in line for line in net[2].node.status().warnings)
        # Meanwhile t nodes have one epoch, and sign in it.
        await signs(net, "alice", 0, 1)
        net[2].channel.deaf = nothing
        await net[2].restart()
        await agreed(net, "alice", before)
        await signs(net, "alice", 1, 2)


async def test_a_refresh_of_another_account_gives_up_nothing(tmp_path, gateway):
    """One node lacks the certificate for alice while bob is refreshed: it must not lose alice's new share."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice", "bob")
        await net.ready("bob")
        for member in net:
            member.add_primes(8)
        before = {name: net[0].node.account(name) for name in ("alice", "bob")}
        net[2].channel.deaf = dones
        await refresh(net[0], "alice")
        await poll(lambda: pair(net[1].node.account("alice")) != pair(before["alice"]))
        (waiting,) = net[2].store.sessions.pending_sids()
        assert pair(net[2].node.account("alice")) == pair(before["alice"])
        # Its deafness ends where the second run begins; hellos that would bring the first certificate are still lost.
        net[2].channel.deaf = lambda envelope: dones(envelope) and routing(envelope)[0] == waiting
        for view in net[2].node.sessions():
            await net[2].node.abort_session(request_id=view.request_id)
        await refresh(net[1], "bob")
        await agreed(net, "bob", before["bob"])
        assert waiting in net[2].store.sessions.pending_sids()
        net[2].channel.deaf = nothing
        await net[2].restart()
        await agreed(net, "alice", before["alice"])
        await signs(net, "alice", 1, 2)


async def test_ed25519_accounts_are_refreshed_without_primes(tmp_path, gateway):
    """Beside secp256k1 ones: each curve in a run of its own."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        for member in net:
            member.add_primes()
        made = await last(net[0].node.create_account("ed", curve="ed25519"))
        await net.ready("ed")
        before = {name: net[0].node.account(name) for name in ("alice", "ed")}
        view = await refresh(net[2])
        assert {account.curve for account in view.accounts} == {"secp256k1", "ed25519"}
        for name in ("alice", "ed"):
            await agreed(net, name, before[name])
        call = SignCall(request_id_of("after"), "ed", Message(b"after the refresh", "none"), signers=(0, 2))
        result = await net[0].node.sign(call)
        nacl.signing.VerifyKey(made.public_key).verify(b"after the refresh", result.signature)
        await poll(lambda: epochs(net[0], "ed") == epochs(net[2], "ed") == [False])
        assert epochs(net[1], "ed") == [True, False]


@pytest.mark.attack("C8")
@pytest.mark.attack("C9")
async def test_an_epoch_that_nobody_completes_is_given_up_by_the_next(tmp_path, gateway):
    """Every `done` is lost: all hold new shares that nobody may use. The next run begins from the old ones."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        for member in net:
            member.add_primes(8)
            member.channel.mute = dones
        before = net[0].node.account("alice")
        running = asyncio.ensure_future(refresh(net[0], "alice"))
        await poll(lambda: all(member.store.sessions.pending_sids() for member in net))
        (given_up,) = {sid for member in net for sid in member.store.sessions.pending_sids()}
        for member in net:
            for view in member.node.sessions():
                await member.node.abort_session(request_id=view.request_id)
        with pytest.raises(Exception):  # noqa: B017 - whatever its caller is told
            await running
        assert {pair(view) for view in views(net, "alice")} == {pair(before)}
        await signs(net, "alice", 0, 1, name="in the old epoch")
        for member in net:
            member.channel.mute = nothing
        await refresh(net[1], "alice")
        now = await agreed(net, "alice", before)
        for member in net:
            await poll(lambda member=member: given_up not in member.store.sessions.pending_sids())  # type: ignore[misc]
            assert member.store.sessions.certificate(given_up) is None
        assert now.share_epoch != before.share_epoch
        await signs(net, "alice", 0, 2)


async def test_old_shares_are_refreshed_by_themselves(tmp_path, gateway):
    """Switched on at all nodes, and one of them proposes; switched off, nobody does."""
    by_itself = replace(PATIENT, refresh=RefreshSettings(every=1.0, jitter=0.2))
    async with network(tmp_path, gateway.url, config=by_itself) as net:
        net.deal("alice")
        for member in net:
            member.add_primes()
        before = net[0].node.account("alice")
        await agreed(net, "alice", before)
        await signs(net, "alice", 0, 1)
