"""wallet.v1.Operator: on a socket of mode 0600, every method between its messages and the node."""

from __future__ import annotations

import json
import os
import socket
import stat
from dataclasses import replace

import pytest
from node_testing import committee_of, deal, node_keys
from scripted_node import ACCOUNT, KEYS, ScriptedNode, operated
from tss_testing import SMALL_SECP

from kit.net import ListenError
from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.age_files import Unlock
from participant.committee import Committee
from participant.grpc_client import CallFailed, ServiceClient
from participant.identity import Card
from participant.node import api
from participant.services.gate import Gate, operator_at_socket
from participant.services.listener import Listener
from participant.services.operator import OperatorService
from participant.sharefile import ShareEntry, encode_share_file, parse_share_file
from participant.store import Finding
from tss.envelope import holder
from tss.evidence import Evidence

SUITES = {"secp256k1": SMALL_SECP}
COMMITTEE = committee_of()


def peer(index: int, **fields: object) -> api.PeerView:
    values = {
        "index": index,
        "identity": COMMITTEE.identities[index],
        "own": index == 0,
        "online": True,
        "last_seen": 1.9,
        "version": "1",
        "quarantined": False,
        "problem": "",
    }
    return api.PeerView(**(values | fields))


VIEW = api.CommitteeView(
    COMMITTEE,
    0,
    b"a" * 32,
    (peer(0), peer(1), peer(2, online=False, last_seen=None, version="", quarantined=True)),
    is_left=True,
)
POOL = api.PrimePool(3, 4, searching=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "operator.sock"


async def test_the_socket_is_its_owners_alone_and_goes_with_its_daemon(path) -> None:
    async with operated(ScriptedNode(), path):
        status = path.stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == os.getuid()
    assert not path.exists()


def listener_at(path) -> Listener:
    service = operator.DESCRIPTOR.services_by_name["Operator"]
    handler = Gate(operator_at_socket).handler(service, OperatorService(ScriptedNode(), KEYS.card()))
    listener = Listener([(service.full_name, handler)])
    listener.bind_socket(path)
    return listener


async def test_a_socket_in_use_is_not_taken_and_a_dead_one_is(path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with operated(ScriptedNode(), path) as client:
        with pytest.raises(ListenError, match=r"in use: .*operator\.socket"):
            listener_at(path)
        await client.call(client.operator.GetIdentity, operator.GetIdentityRequest())


async def test_a_socket_in_a_directory_that_is_not_there(tmp_path) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on .*operator\.socket"):
        listener_at(tmp_path / "nowhere" / "operator.sock")


async def test_a_socket_leaves_no_other_file_in_its_place(path) -> None:
    path.write_text("precious")
    with pytest.raises(ListenError):
        listener_at(path)
    assert path.read_text() == "precious"


async def test_status(path) -> None:
    view = api.StatusView(
        ready=True,
        version="1.2",
        identity=KEYS.identity,
        uptime=12.7,
        gateway_url="http://gateway",
        gateway_connected=True,
        accounts=2,
        sessions=1,
        primes=POOL,
        committees=(VIEW,),
        warnings=("look here",),
    )
    async with operated(ScriptedNode(status=view), path) as client:
        answer = await client.call(client.operator.GetStatus, operator.GetStatusRequest())
    (committee,) = answer.committees
    answer.ClearField("committees")
    assert answer == operator.GetStatusResponse(
        version="1.2",
        identity_key=KEYS.identity,
        uptime_seconds=12,
        gateway_url="http://gateway",
        gateway_connected=True,
        accounts=2,
        sessions=1,
        primes=common.PrimePool(available=3, target=4, searching=True),
        warnings=["look here"],
    )
    assert (committee.committee_id, committee.threshold, committee.index) == (COMMITTEE.committee_id, 2, 0)
    assert (committee.aux_id, committee.is_left) == (b"a" * 32, True)
    away = operator.Member(index=2, identity_key=COMMITTEE.identities[2], never_seen=True, quarantined=True)
    here = operator.Member(
        index=1, identity_key=COMMITTEE.identities[1], online=True, last_seen_seconds=1, version="1"
    )
    assert list(committee.members[1:]) == [here, away]


async def test_identity_is_the_card_that_peers_pin(path) -> None:
    async with operated(ScriptedNode(), path) as client:
        answer = await client.call(client.operator.GetIdentity, operator.GetIdentityRequest())
    assert Card.from_json(answer.text) == KEYS.card()
    assert answer.identity_key == KEYS.identity


async def test_committees(path) -> None:
    node = ScriptedNode(committees=[VIEW], add_committee=VIEW)
    cards = [keys.card() for keys in node_keys()]
    members = [operator.Card(identity_key=card.identity, text=card.to_json()) for card in reversed(cards)]
    async with operated(node, path) as client:
        found = await client.call(client.operator.ListCommittees, operator.ListCommitteesRequest())
        assert [one.committee_id for one in found.committees] == [COMMITTEE.committee_id]
        add = client.operator.AddCommittee
        await client.call(add, operator.AddCommitteeRequest(members=members, threshold=2))
        assert node.asked == ("add_committee", (Committee.of(cards, 2),), {})
        other = operator.Card(identity_key=cards[0].identity, text=cards[1].to_json())
        forged = json.loads(cards[0].to_json()) | {"gateway_access": cards[1].gateway_access.hex()}
        for bad, text in (
            ([*members[:2], operator.Card(identity_key=cards[0].identity)], "has no card"),
            ([*members[:2], other], "not that of its card"),
            ([*members[:2], operator.Card(text=json.dumps(forged))], "signed"),
            ([*members[:2], members[0]], "duplicate"),
            (members[:1], "2 to 16 members"),
        ):
            with pytest.raises(CallFailed, match=text) as caught:
                await client.call(add, operator.AddCommitteeRequest(members=bad, threshold=2))
            assert caught.value.reason == "INVALID_REQUEST"
        with pytest.raises(CallFailed, match="threshold 4"):
            await client.call(add, operator.AddCommitteeRequest(members=members, threshold=4))
    assert len(node.calls) == 2


async def steps(client: ServiceClient, method, request) -> list[common.Progress]:
    return [step async for step in client.stream(method, request)]


async def test_ceremonies_are_the_operators_own(path) -> None:
    aux = api.AuxView(b"c" * 32, b"a" * 32, ("main", "x"))
    stock = api.StockView("main", (api.StockEntry((0, 1), 0, 2, 0, 4, 0.0),))
    node = ScriptedNode(
        create_account=[api.Progress("keygen", 1, 1, result=ACCOUNT)],
        run_aux=[api.Progress("aux", 1, 1, result=aux)],
        refresh_accounts=[api.Progress("refresh", 1, 1, result=api.RefreshView(b"c" * 32, (ACCOUNT,)))],
        fill_primes=[api.Progress("primes", 0, 0), api.Progress("primes", 1, 1, result=POOL)],
        fill_stock=[api.Progress("presign", 1, 1, result=stock)],
    )
    async with operated(node, path) as client:
        service = client.operator
        (made,) = await steps(client, service.CreateAccount, wallet.CreateAccountRequest(account_id="main"))
        assert made.account.account_id == "main"
        expected = {"curve": "secp256k1", "threshold": None, "committee_id": None}
        assert node.asked == ("create_account", ("main",), expected)
        request = operator.RunAuxRequest(committee_id=b"c" * 32, account_ids=["x"])
        (ran,) = await steps(client, service.RunAux, request)
        assert node.asked == ("run_aux", (b"c" * 32, ("x",)), {})
        assert ran.aux == common.AuxResult(
            committee_id=b"c" * 32, aux_id=b"a" * 32, account_ids=["main", "x"]
        )
        request = operator.RefreshAccountsRequest(committee_id=b"c" * 32, account_ids=["main"])
        (fresh,) = await steps(client, service.RefreshAccounts, request)
        assert node.asked == ("refresh_accounts", (b"c" * 32, ("main",)), {})
        assert [(one.account_id, one.share_epoch) for one in fresh.refresh.accounts] == [("main", b"e" * 32)]
        await steps(client, service.RefreshAccounts, operator.RefreshAccountsRequest(all=True))
        assert node.asked == ("refresh_accounts", (None, ()), {})
        for unclear in ({}, {"all": True, "account_ids": ["main"]}):
            with pytest.raises(CallFailed, match="name the accounts to refresh, or say all"):
                await steps(client, service.RefreshAccounts, operator.RefreshAccountsRequest(**unclear))
        filled = await steps(client, service.FillPrimes, operator.FillPrimesRequest(count=7))
        assert node.asked == ("fill_primes", (7,), {})
        assert filled[1].primes == common.PrimePool(available=3, target=4, searching=True)
        request = operator.FillStockRequest(account_id="main", signers=[0, 1], count=2)
        (stocked,) = await steps(client, service.FillStock, request)
        assert node.asked == ("fill_stock", ("main", (0, 1), 2), {})
        assert stocked.stock.entries[0].fresh == 2
        await steps(client, service.FillStock, operator.FillStockRequest(account_id="main"))
        assert node.asked == ("fill_stock", ("main", None, 0), {})


def entries() -> list[ShareEntry]:
    shares = deal(SMALL_SECP)
    return [ShareEntry(name, shares[0], None, foreign=False) for name in ("main", "other")]


async def test_import_takes_what_is_named(path) -> None:
    taken = (
        api.ImportedShare("main", imported=True, text="imported", account=ACCOUNT),
        api.ImportedShare("other", imported=False, text="exists", account=None),
    )
    node = ScriptedNode(import_share=taken)
    file = encode_share_file(entries())
    service = operator.DESCRIPTOR.services_by_name["Operator"]
    gate = Gate(operator_at_socket)
    listener = Listener(
        [(service.full_name, gate.handler(service, OperatorService(node, KEYS.card(), SUITES)))]
    )
    listener.bind_socket(path)
    await listener.start()
    async with ServiceClient(f"unix:{path}") as client:
        call = client.operator.ImportShares
        answer = await client.call(call, operator.ImportSharesRequest(file=file))
        assert [entry.account_id for entry in node.asked[1][0]] == ["main", "other"]
        assert [(one.account_id, one.imported, one.text) for one in answer.shares] == [
            ("main", True, "imported"),
            ("other", False, "exists"),
        ]
        assert answer.shares[0].account.index == 1
        assert not answer.shares[1].HasField("account")
        await client.call(call, operator.ImportSharesRequest(file=file, account_ids=["other"]))
        assert [entry.account_id for entry in node.asked[1][0]] == ["other"]
        for request, text in (
            (operator.ImportSharesRequest(file=file, account_ids=["nobody"]), "no account 'nobody'"),
            (operator.ImportSharesRequest(file=file[:-20]), "damaged"),
            (operator.ImportSharesRequest(), "damaged"),
        ):
            with pytest.raises(CallFailed, match=text):
                await client.call(call, request)
    await listener.stop(0)
    assert len(node.calls) == 2


async def test_export_is_encrypted_unless_plain_text_is_asked_for(path) -> None:
    import pyrage

    node = ScriptedNode(export_shares=tuple(entries()))
    identity = pyrage.x25519.Identity.generate()
    plain = encode_share_file(entries())
    secret = f"{entries()[0].share.x:x}".encode()
    assert secret in plain
    async with operated(node, path) as client:
        call = client.operator.ExportShares
        recipients = operator.Recipients(keys=[str(identity.to_public())])
        answer = await client.call(
            call, operator.ExportSharesRequest(account_ids=["main"], recipients=recipients)
        )
        assert node.asked == ("export_shares", (("main",),), {})
        assert secret not in answer.file
        found = parse_share_file(answer.file, "it", Unlock(identities=[str(identity)]), SUITES)
        assert list(found) == list(answer.account_ids) == ["main", "other"]
        answer = await client.call(call, operator.ExportSharesRequest(passphrase="pässword".encode()))
        assert secret not in answer.file
        assert list(parse_share_file(answer.file, "it", Unlock(password="pässword"), SUITES)) == [
            "main",
            "other",
        ]
        answer = await client.call(call, operator.ExportSharesRequest(plaintext=True))
        assert answer.file == plain
        asked = len(node.calls)
        for request in (
            operator.ExportSharesRequest(),
            operator.ExportSharesRequest(plaintext=False),
        ):
            with pytest.raises(CallFailed, match="how the file is protected") as caught:
                await client.call(call, request)
            assert caught.value.reason == "INVALID_REQUEST"
        assert len(node.calls) == asked
        for request, text in (
            (operator.ExportSharesRequest(recipients=operator.Recipients()), "give one of them"),
            (operator.ExportSharesRequest(recipients=operator.Recipients(keys=["age1x"])), "not an age"),
            (operator.ExportSharesRequest(passphrase=b"\xff"), "UTF-8"),
            (operator.ExportSharesRequest(passphrase=b""), "empty"),
        ):
            with pytest.raises(CallFailed, match=text) as caught:
                await client.call(call, request)
            assert caught.value.reason == "INVALID_REQUEST"


async def test_freeze_and_unfreeze(path) -> None:
    frozen = replace(ACCOUNT, status=api.AccountStatus.FROZEN)
    node = ScriptedNode(freeze=frozen, unfreeze=ACCOUNT)
    async with operated(node, path) as client:
        request = operator.FreezeAccountRequest(account_id="main", reason="stolen phone")
        answer = await client.call(client.operator.FreezeAccount, request)
        assert answer.state == common.ACCOUNT_STATE_FROZEN
        assert node.asked == ("freeze", ("main", "stolen phone"), {})
        request = operator.UnfreezeAccountRequest(account_id="main")
        answer = await client.call(client.operator.UnfreezeAccount, request)
        assert answer.state == common.ACCOUNT_STATE_ACTIVE


def evidence(number: int) -> bytes:
    return Evidence.collect(
        proto="cggmp24-secp256k1/v1",
        sid_preimages=(),
        accused=holder(number),
        check=f"presign.r{number}",
        messages=[],
    ).encode()


async def test_quarantine_and_evidence(path) -> None:
    files = {bytes([number]) * 32: evidence(number) for number in (1, 2, 3)} | {b"\4" * 32: b"damaged"}
    identity = COMMITTEE.identities[1]
    marks = [
        api.QuarantineView(1, identity, b"c" * 32, 1, None, "a check", b"\1" * 32, 1_700_000_000),
        api.QuarantineView(2, identity, b"d" * 32, 0, None, "another", None, 1_700_000_001),
        api.QuarantineView(3, COMMITTEE.identities[2], b"c" * 32, 2, None, "a third", None, 1_700_000_002),
    ]
    blocked = api.BlockedSetView(b"s" * 32, b"c" * 32, (0, 2), (2,), "lacking", 1_700_000_003)
    node = ScriptedNode(
        quarantine=marks, clear_quarantine=2, evidence_ids=list(files), evidence=files.get,
        blocked_sets=[blocked], clear_blocked_set=True,
    )  # fmt: skip
    async with operated(node, path) as client:
        service = client.operator
        answer = await client.call(service.ListQuarantine, operator.ListQuarantineRequest())
        first, second = answer.peers
        assert (first.identity_key, first.check, first.since) == (identity, "a check", 1_700_000_000)
        assert first.evidence_id == "01" * 32
        assert [(one.committee_id, one.index) for one in first.places] == [(b"c" * 32, 1), (b"d" * 32, 0)]
        assert (second.check, second.evidence_id) == ("a third", "")
        request = operator.ClearQuarantineRequest(identity_key=identity, reason="disk replaced")
        assert (await client.call(service.ClearQuarantine, request)).cleared
        assert node.asked == ("clear_quarantine", (identity, "operator", "disk replaced"), {})
        (shown,) = answer.signer_sets
        assert (shown.session_id, list(shown.signers), list(shown.lacking)) == (b"s" * 32, [0, 2], [2])
        assert (shown.text, shown.since) == ("lacking", 1_700_000_003)
        by_set = operator.ClearQuarantineRequest(session_id=b"s" * 32, reason="seen")
        assert (await client.call(service.ClearQuarantine, by_set)).cleared
        assert node.asked == ("clear_blocked_set", (b"s" * 32, "operator", "seen"), {})
        both = operator.ClearQuarantineRequest(session_id=b"s" * 32, identity_key=identity)
        with pytest.raises(CallFailed, match="not both"):
            await client.call(service.ClearQuarantine, both)
        node.answers["clear_quarantine"] = 0
        assert not (await client.call(service.ClearQuarantine, request)).cleared
        with pytest.raises(CallFailed, match="identity_key has 0 bytes"):
            await client.call(service.ClearQuarantine, operator.ClearQuarantineRequest())

        listed, token = [], ""
        while True:
            page = await client.call(
                service.ListEvidence, operator.ListEvidenceRequest(page_size=3, page_token=token)
            )
            listed += [(one.evidence_id, one.check) for one in page.evidence]
            token = page.next_page_token
            if not token:
                break
        # Newest first; one that cannot be read is shown all the same.
        assert listed == [("04" * 32, ""), *((f"0{n}" * 32, f"presign.r{n}") for n in (3, 2, 1))]
        got = await client.call(service.GetEvidence, operator.GetEvidenceRequest(evidence_id="01" * 32))
        assert got.file == files[b"\1" * 32]
        assert (got.evidence.identity_key, got.evidence.recorded_at) == (identity, 1_700_000_000)
        assert got.evidence.text == "against party index 0 (holder)"
        for unknown in ("", "xyz", "05" * 32):
            with pytest.raises(CallFailed) as caught:
                await client.call(service.GetEvidence, operator.GetEvidenceRequest(evidence_id=unknown))
            assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "EVIDENCE_NOT_FOUND")
        with pytest.raises(CallFailed, match="outdated"):
            await client.call(service.ListEvidence, operator.ListEvidenceRequest(page_token="07" * 32))


async def test_stock_store_and_sessions(path) -> None:
    view = api.SessionView(
        session_id=None,
        proposal=b"\7" * 32,
        kind="keygen",
        committee_id=b"c" * 32,
        account_id="new",
        request_id=b"r" * 16,
        initiator=2,
        parties=(0, 1, 2),
        phase="keygen.r1",
        waiting_for=(1,),
        started_at=1_700_000_000.5,
    )
    views = [
        view,
        replace(view, proposal=b"\6" * 32, session_id=b"s" * 32, outcome="done"),
        replace(view, proposal=b"\5" * 32, outcome="Timeout: no message from index 1"),
        replace(view, proposal=b"\4" * 32, outcome="OperatorAbort: ended by an operator"),
    ]
    report = api.StoreReport((Finding("share", "account 'x' is damaged"),), 3, 99)
    node = ScriptedNode(stock=[], drop_stock=5, check_store=report, sessions=views, abort_session=views[0])
    async with operated(node, path) as client:
        service = client.operator
        await client.call(service.GetStock, wallet.GetStockRequest())
        assert node.asked == ("stock", (None,), {})
        assert (await client.call(service.DropStock, operator.DropStockRequest())).dropped == 5
        assert node.asked == ("drop_stock", (None,), {})
        await client.call(service.DropStock, operator.DropStockRequest(account_id="main"))
        assert node.asked == ("drop_stock", ("main",), {})

        answer = await client.call(service.CheckStore, operator.CheckStoreRequest(deep=True))
        assert node.asked == ("check_store", (), {"deep": True})
        finding = operator.StoreFinding(error=True, text="share: account 'x' is damaged")
        assert answer == operator.CheckStoreResponse(findings=[finding], accounts=3, audit_records=99)

        listed = await client.call(service.ListSessions, operator.ListSessionsRequest(ended=True))
        assert node.asked == ("sessions", (), {"ended": True})
        assert [operator.SessionState.Name(one.state) for one in listed.sessions] == [
            f"SESSION_STATE_{name}" for name in ("RUNNING", "DONE", "TIMED_OUT", "ABORTED")
        ]
        assert listed.sessions[0] == operator.SessionInfo(
            kind="keygen",
            account_id="new",
            committee_id=b"c" * 32,
            request_id=b"r" * 16,
            initiator=2,
            signers=[0, 1, 2],
            state=operator.SESSION_STATE_RUNNING,
            phase="keygen.r1",
            waiting_for=[1],
            started_at=1_700_000_000,
        )
        assert [one.text for one in listed.sessions[1:]] == ["", views[2].outcome, views[3].outcome]
        request = wallet.AbortSessionRequest(session_id=b"s" * 32, reason="stuck")
        assert (await client.call(service.AbortSession, request)).aborted
        assert node.asked == ("abort_session", (b"s" * 32, None, "stuck"), {})
