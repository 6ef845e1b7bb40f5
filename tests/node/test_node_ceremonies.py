"""Whole nodes make auxiliary information and keys, catch up after restarts, and take shares in and out."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from gateway_testing import running_gateway
from node_network import (
    PATIENT,
    WAIT,
    Member,
    Network,
    check_signature,
    digest_of,
    last,
    network,
    nothing,
    poll,
    sign_call,
)
from node_testing import deal
from tss_testing import SMALL_SECP

from participant.callers import Caller
from participant.node.api import AccountView, AuxView, PrimePool, Progress
from participant.node.errors import (
    AccountAlreadyExists,
    AccountUnknown,
    CommitteeNotFound,
    InvalidRequest,
    NeedsAux,
    NotAllowed,
    PartiesMissing,
    PolicyRefused,
)
from participant.node.pools import Pools
from participant.policy import AccountRule, CeremonyRule, PolicySettings
from participant.sharefile import ShareEntry
from participant.store import StoreUnavailable
from tss.envelope import Kind, routing

NO_CEREMONIES = PolicySettings(
    rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], raw_digests=True)],
    ceremonies=[CeremonyRule(kinds=["aux", "presign"], callers=["*"], proposers=["*"])],
)


# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def create(member: Member, account_id: str = "alice", **options: object) -> AccountView:
    view = await last(member.node.create_account(account_id, **options))  # type: ignore[arg-type]
    assert isinstance(view, AccountView)
    return view


def with_primes(net: Network) -> None:
    for member in net:
        member.add_primes()


async def everywhere(net: Network, account_id: str) -> None:
    """Wait until all nodes have the account in force."""
    for member in net:
        await poll(lambda member=member: _status(member, account_id) == "active")  # type: ignore[misc]
    await net.ready(account_id)


def _status(member: Member, account_id: str) -> str:
    try:
        return str(member.node.account(account_id).status)
    except AccountUnknown:
        return ""


async def check_pairs(net: Network, account_id: str) -> None:
    key = net[0].node.account(account_id).public_key
    for index, pair in enumerate([(0, 1), (1, 2), (2, 0)]):
        name = (account_id, pair)
        result = await net[pair[0]].node.sign(sign_call(account_id, name, signers=tuple(sorted(pair))))
        check_signature(result, digest_of(name), key)
        assert result.signers == tuple(sorted(pair)), index


async def test_an_account_is_made_from_nothing_and_every_pair_signs(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        with_primes(net)
        async with aclosing(net[1].node.create_account("alice")) as progress:
            steps: list[Progress] = [step async for step in progress]
        view = steps[-1].result
        assert isinstance(view, AccountView)
        assert {"aux", "keygen"} <= {step.stage for step in steps}
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert (steps[-1].done, steps[-1].result) == (steps[-1].total, view)
        assert all(step.result is None for step in steps[:-1])
        await everywhere(net, "alice")
        views = [member.node.account("alice") for member in net]
        assert (
            len({(v.public_key, v.key_id, v.share_epoch, v.aux_id, v.threshold, v.parties) for v in views})
            == 1
        )
        assert [v.index for v in views] == [0, 1, 2]
        assert views[0].addresses["ethereum"].startswith("0x")
        await check_pairs(net, "alice")
        # Each node used its four primes, and no other has seen them.
        assert [member.node.primes().available for member in net] == [0, 0, 0]
        # The next account needs no auxiliary information of its own.
        second = await create(net[0], "bob", threshold=3)
        assert (second.threshold, second.aux_id) == (3, view.aux_id)
        assert second.public_key != view.public_key
        await everywhere(net, "bob")
        result = await net[2].node.sign(sign_call("bob", "by all"))
        assert result.signers == (0, 1, 2)
        for member in net:
            kinds = [e.record.kind for e in member.store.audit.export()]
            assert {"aux", "keygen", "sign"} <= set(kinds)


async def test_no_node_holds_what_belongs_to_another(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        with_primes(net)
        await create(net[0])
        await everywhere(net, "alice")
        shares = [member.node._records.account("alice").share.x for member in net]
        assert len(set(shares)) == 3
        for member in net:
            aux = member.node._records.aux(member.node.account("alice").aux_id or b"", SMALL_SECP)
            assert aux.me == member.index + 1
            assert len({party.N for party in aux.parties.values()}) == 3


async def test_two_who_create_at_once_both_succeed(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        with_primes(net)
        for member in net:
            member.add_primes()
        views = await asyncio.gather(create(net[0], "a"), create(net[2], "c"))
        assert [view.account_id for view in views] == ["a", "c"]
        for account_id in ("a", "c"):
            await everywhere(net, account_id)


async def test_a_node_that_misses_the_last_messages_catches_up_after_a_restart(tmp_path, gateway):
    """Index 2 hears nobody's `done`: the others have the account, it has it pending until it is back."""
    async with network(tmp_path, gateway.url) as net:
        net.deal()
        await net.ready()
        net[2].channel.deaf = lambda envelope: routing(envelope)[1] is Kind.DONE
        view = await create(net[0])
        await poll(lambda: _status(net[2], "alice") == "pending")
        pending = net[2].node.account("alice")
        assert (pending.public_key, pending.aux_id) == (b"", None)
        (waiting,) = net[2].store.sessions.pendings()
        assert waiting.aux_id == net[0].node.account("alice").aux_id, "the set that its done bound"
        with pytest.raises(AccountUnknown):
            await net[2].node.sign(sign_call("alice", "pending"))
        await net[2].restart()
        await everywhere(net, "alice")
        assert net[2].node.account("alice").public_key == view.public_key
        await check_pairs(net, "alice")


async def test_nodes_that_all_stop_before_the_certificate_complete_it_together(tmp_path, gateway):
    """Nobody hears anybody's `done`: nothing is in force anywhere, until all are back."""
    async with network(tmp_path, gateway.url) as net:
        net.deal()
        await net.ready()
        for member in net:
            member.channel.deaf = lambda envelope: routing(envelope)[1] is Kind.DONE
        waiting = asyncio.create_task(create(net[0]))
        for member in net:
            await poll(lambda member=member: _status(member, "alice") == "pending")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.gather(*(member.restart() for member in net))
        await everywhere(net, "alice")
        assert len({member.node.account("alice").public_key for member in net}) == 1
        await check_pairs(net, "alice")


async def test_a_certificate_is_stronger_than_giving_up(tmp_path, gateway):
    """Index 2 lacks the others' `done`, is asked for the same account again, and gives up what it has: too late."""
    async with network(tmp_path, gateway.url) as net:
        net.deal()
        await net.ready()
        net[2].channel.deaf = lambda envelope: routing(envelope)[1] is Kind.DONE
        view = await create(net[0])
        await poll(lambda: _status(net[2], "alice") == "pending")
        for session in net[2].node.sessions():
            await net[2].node.abort_session(session_id=session.session_id, reason="try again")
        assert _status(net[2], "alice") == "pending", "no abort undoes what everybody may hold"
        with pytest.raises(AccountAlreadyExists, match="refuses"):
            await create(net[2])
        assert [pending.voided for pending in net[2].store.sessions.pendings()] == [True]
        await net[2].restart()
        await everywhere(net, "alice")
        assert net[2].node.account("alice").public_key == view.public_key
        assert net[2].store.sessions.pendings() == []
        await check_pairs(net, "alice")


async def test_what_all_gave_up_is_gone_when_the_next_run_is_in_force(tmp_path, gateway):
    """Nobody hears a `done` of the first run; the second is another key. What the relay kept of the first is no use."""
    async with network(tmp_path, gateway.url) as net:
        net.deal()
        await net.ready()
        kept: list[bytes] = []

        async def keep(envelope: bytes) -> None:
            if routing(envelope)[1] is Kind.DONE:
                kept.append(envelope)

        for member in net:
            member.channel.on_post = keep
            member.channel.mute = lambda envelope: routing(envelope)[1] is Kind.DONE
        waiting = asyncio.create_task(create(net[0]))
        await poll(lambda: len({routing(envelope)[2] for envelope in kept}) == 3)
        for member in net:
            for session in member.node.sessions():
                await member.node.abort_session(session_id=session.session_id, reason="try again")
        await asyncio.gather(waiting, return_exceptions=True)
        for member in net:
            await poll(lambda member=member: not member.node.sessions())  # type: ignore[misc]
            member.channel.on_post = None
            member.channel.mute = nothing
        first = list(kept)
        view = await create(net[1])
        await everywhere(net, "alice")
        for member in net:
            assert member.store.sessions.pendings() == [], "the first run's shares are erased"
            for envelope in first:
                member.node._memberships[net.committee.committee_id].room._receive(envelope)
        await check_pairs(net, "alice")
        assert {member.node.account("alice").public_key for member in net} == {view.public_key}


async def test_a_gateway_that_restarts_in_the_middle_of_a_ceremony_costs_time_only(tmp_path):
    with running_gateway(tmp_path) as first:
        port = first.port
        async with network(tmp_path, first.url) as net:
            net.deal()
            await net.ready()
            in_round_2 = asyncio.Event()

            async def watch(envelope: bytes) -> None:
                if routing(envelope)[1] is Kind.MSG and net[1].node.sessions()[:1]:
                    in_round_2.set()

            net[1].channel.on_post = watch
            waiting = asyncio.create_task(create(net[0]))
            await asyncio.wait_for(in_round_2.wait(), WAIT)
            first.process.kill()
            with running_gateway(tmp_path, {"server": {"port": port}}):
                assert (await waiting).account_id == "alice"
                await everywhere(net, "alice")
                await check_pairs(net, "alice")


async def test_everybody_must_be_there(tmp_path, gateway):
    config = replace(PATIENT, gather=1.0)
    async with network(tmp_path, gateway.url, config=config, start=[0, 2]) as net:
        with pytest.raises(PartiesMissing, match="index 1") as caught:
            await create(net[0])
        assert caught.value.missing == (1,)
        with pytest.raises(PartiesMissing):
            await last(net[2].node.run_aux())


async def test_bad_requests_get_clear_answers(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        node = net[0].node
        for steps, error in [
            (node.create_account("alice"), AccountAlreadyExists),
            (node.create_account(""), InvalidRequest),
            (node.create_account("new", threshold=1), InvalidRequest),
            (node.create_account("new", threshold=4), InvalidRequest),
            (node.create_account("new", curve="p256"), InvalidRequest),
            (node.create_account("new", committee_id=bytes(32)), CommitteeNotFound),
            (node.create_account("new", caller=Caller("bob", frozenset({"bob"}))), NotAllowed),
            (node.run_aux(account_ids=["nobody"]), InvalidRequest),
        ]:
            with pytest.raises(error):
                await last(steps)


async def test_an_account_that_only_a_peer_has_is_refused_by_that_peer(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        share = deal(SMALL_SECP, 2, 3, "only there")[2]
        from participant.store import NewShare, Origin

        net[2].store.accounts.add(NewShare.of("taken", share), net.committee.committee_id, Origin.IMPORT)
        with pytest.raises(AccountAlreadyExists, match="index 2 refuses"):
            await create(net[0], "taken")


async def test_a_policy_of_a_peer_refuses_a_ceremony(tmp_path, gateway):
    async with network(tmp_path, gateway.url, policies={1: NO_CEREMONIES}) as net:
        net.deal("alice")
        await net.ready("alice")
        with pytest.raises(PolicyRefused) as caught:
            await create(net[0], "new")
        assert caught.value.metadata["by"] == "1"
        assert caught.value.metadata["rule"] == "CEREMONY_NOT_ALLOWED"
        with pytest.raises(PolicyRefused) as caught:
            await create(net[1], "new")
        assert caught.value.metadata["rule"] == "CEREMONY_NOT_ALLOWED"


async def test_new_auxiliary_information_moves_the_accounts_and_ends_old_stock_and_pools(
    tmp_path, gateway, monkeypatch
):
    renewed: list[Pools] = []
    monkeypatch.setattr(Pools, "renew", lambda pools, _: renewed.append(pools))
    async with network(tmp_path, gateway.url) as net:
        with_primes(net)
        net.deal("alice", "bob")
        await net.ready("alice")
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        before = net[0].node.account("alice").aux_id
        view = await last(net[0].node.run_aux(account_ids=["alice"]))
        assert isinstance(view, AuxView)
        assert view.aux_id != before
        assert "alice" in view.account_ids
        await poll(lambda: all(m.node.account("alice").aux_id == view.aux_id for m in net))
        await net.ready("alice")
        assert net[0].node.stock("alice")[0].entries == ()
        assert net[0].node._pools in renewed
        await check_pairs(net, "alice")
        await check_pairs(net, "bob")


async def test_primes_are_searched_when_the_pool_is_empty(tmp_path, gateway):
    async with network(tmp_path, gateway.url, 2, 2) as net:
        net[0].add_primes()
        async with aclosing(net[0].node.run_aux()) as steps:
            texts = [step.text async for step in steps]
        assert any("safe primes" in text for text in texts)
        pool = await last(net[1].node.fill_primes(1))
        assert isinstance(pool, PrimePool)
        assert pool.available >= 1


async def test_an_idle_node_fills_its_pool_by_itself(tmp_path, gateway, monkeypatch):
    # Beside tests a process of the lowest priority may get no time for minutes.
    monkeypatch.setattr("participant.node.primes.IDLE_NICENESS", 0)
    config = replace(PATIENT, primes_target=1)
    async with network(tmp_path, gateway.url, config=config, start=[0]) as net:
        await poll(lambda: net[0].node.primes().available >= 1)
        await poll(lambda: not net[0].node.primes().searching)
        assert net[0].store.primes.count(SMALL_SECP.level.pb) == net[0].node.primes().available
        await net[0].restart()
        assert net[0].node.primes().available >= 1


# -- shares in and out --------------------------------------------------------------------------------------------------


async def test_shares_go_out_and_come_in_elsewhere(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice", "bob")
        await net.ready("alice")
        entries = [await member.node.export_shares(["alice"]) for member in net]
        assert [entry.account_id for exported in entries for entry in exported] == ["alice"] * 3
        assert len(await net[0].node.export_shares()) == 2
        assert ("export", "exported") in [
            (e.record.kind, e.record.decision) for e in net[0].store.audit.export()
        ]
        with pytest.raises(AccountUnknown):
            await net[0].node.export_shares(["nobody"])
        again = await net[0].node.import_share(entries[0])
        assert [(found.imported, found.account_id) for found in again] == [(False, "alice")]
        assert "stays as it is" in again[0].text
        for member in net:
            await member.stop()
            member.path.unlink()
            from node_testing import wrapper

            from participant.store import Store

            with Store.create(member.path, wrapper()) as store:
                store.put_identity(member.keys)
            await member.start()
        for member, exported in zip(net, entries, strict=True):
            (found,) = await member.node.import_share(exported)
            assert found.imported, found.text
            assert found.account is not None
            assert found.account.status == "active"
        await net.ready("alice")
        await check_pairs(net, "alice")


async def test_an_imported_share_signs_after_an_aux_run(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        with_primes(net)
        await net.ready()
        for member, share in zip(net, deal(SMALL_SECP, 2, 3, "imported"), strict=True):
            entry = ShareEntry("imported", share, None, foreign=True)
            (found,) = await member.node.import_share([entry])
            assert found.imported
            assert "run aux" in found.text
            assert member.node.account("imported").status == "needs-aux"
        with pytest.raises(NeedsAux, match="auxiliary information"):
            await net[0].node.sign(sign_call("imported", "too early"))
        view = await last(net[1].node.run_aux())
        assert view.account_ids == ("imported",)
        await everywhere(net, "imported")
        await check_pairs(net, "imported")


async def test_a_share_of_another_place_is_not_taken(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        shares = deal(SMALL_SECP, 2, 3, "places")
        (found,) = await net[0].node.import_share([ShareEntry("alice", shares[1], None, foreign=False)])
        assert not found.imported
        assert found.account is None
        assert "index" in found.text
        assert net[0].node.accounts() == []


# -- what an operator sees ----------------------------------------------------------------------------------------------


async def test_status_tells_who_is_there(tmp_path, gateway):
    async with network(
        tmp_path, gateway.url, config=replace(PATIENT, away_after=1.0, hello_interval=0.2)
    ) as net:
        net.deal("alice")
        await net.ready("alice")
        await poll(lambda: net[0].node.status().ready)
        status = net[0].node.status()
        assert (status.version, status.accounts, status.sessions) == ("test", 1, 0)
        assert status.identity == net.committee.identities[0]
        assert status.gateway_connected
        assert [member.online for member in status.committees[0].members] == [True] * 3
        await net[2].stop()
        await poll(lambda: not net[0].node.peers()[2].online)
        assert "index 2: away" in net[0].node.status().warnings
        assert net[0].node.peers()[1].version == "test"


async def test_a_second_process_with_the_same_identity_is_noticed_and_takes_no_work(tmp_path, gateway):
    from participant.node.errors import NodeFailure

    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        copy = replace(net[1], path=tmp_path / "copy.db")
        from node_testing import wrapper

        from participant.store import Store

        with Store.create(copy.path, wrapper()) as store:
            store.put_identity(copy.keys)
        await copy.start()
        try:
            await poll(lambda: "identity" in net[1].node.peers()[1].problem)
            assert not net[1].node.status().ready
            with pytest.raises(NodeFailure, match="identity"):
                await net[1].node.sign(sign_call("alice", "twin", signers=(0, 1)))
        finally:
            await copy.stop()


async def test_a_deep_check_of_a_sound_store_finds_nothing(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        report = await net[0].node.check_store(deep=True)
        assert report.sound, report.findings
        assert report.accounts == 1


async def test_a_node_joins_a_second_committee(tmp_path, gateway):
    from participant.committee import Committee

    async with network(tmp_path, gateway.url) as net:
        two = Committee.of([net[0].keys.card(), net[2].keys.card()], 2)
        for index in (0, 2):
            view = await net[index].node.add_committee(two)
            assert view.committee == two
        with pytest.raises(InvalidRequest):
            await net[1].node.add_committee(two)
        with pytest.raises(CommitteeNotFound, match="2 committees"):
            net[0].node.peers()
        await poll(lambda: all(peer.online for peer in net[0].node.peers(two.committee_id)))
        net[0].add_primes()
        net[2].add_primes()
        view = await create(net[0], "two", committee_id=two.committee_id)
        assert (view.parties, view.committee_id) == (2, two.committee_id)
        await net[0].restart()
        assert [v.committee.n for v in net[0].node.committees()].count(2) == 1


async def test_a_node_whose_store_fails_for_a_moment_is_heard_again(tmp_path, gateway, monkeypatch):
    monkeypatch.setattr("participant.node.tasks.AGAIN_SECONDS", 0.0)
    async with network(tmp_path, gateway.url, 2) as net:
        await net.ready()
        failures = 3

        def fail(_: object) -> object:
            nonlocal failures
            failures -= 1
            if not failures:
                monkeypatch.undo()
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(net[1].store.accounts, "current_aux_id", fail)
        (membership,) = net[0].node._memberships.values()
        (peer,) = membership.presence.peers.values()
        said = max(peer.numbers.values())
        net[1].node._refresh(net.committee.committee_id)
        await net[0].until(lambda: max(peer.numbers.values()) > said)
        assert failures == 0
