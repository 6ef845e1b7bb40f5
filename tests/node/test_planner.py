"""From a proposal to a plan: what a node rebuilds from its own records, and every reason to take no part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cggmp24_testing import dealt_presignature
from node_testing import aux_sets, committee_of, deal, node_keys, raw, sid_of, wrapper
from tss_testing import SMALL_SECP

from participant.committee import Committee
from participant.node.membership import Membership
from participant.node.plan import Decline, Declined, Plan
from participant.node.planner import Planner, signer_points
from participant.node.pools import Pools
from participant.node.records import Records
from participant.payloads import Digest, EthereumTx, Message, to_value
from participant.policy import Action, PayloadKind, PolicyRequest
from participant.store import AccountState, NewAux, NewShare, NewState, Origin, Store
from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import holder
from tss.hd import derive
from tss.proposal import Proposal
from tss.randomizers import PLAIN
from tss.setting import Round0

SUITE = SMALL_SECP
SHARES = deal(SUITE)
DIGEST = b"d" * 32
PATH = (0, 5)
COMMITTEE = committee_of()
REQUEST = b"r" * 16


class World:
    """Index 0 and what it has: account "alice" that can sign, and one presignature."""

    def __init__(self, directory: Path) -> None:
        self.aux = aux_sets(SUITE)[0]
        self.store = Store.create(directory / "store.db", wrapper())
        self.store.put_identity(node_keys()[0])
        self.store.accounts.put_committee(COMMITTEE)
        self.store.accounts.put_aux(COMMITTEE.committee_id, NewAux.of(self.aux))
        self.store.accounts.add(NewShare.of("alice", SHARES[0]), COMMITTEE.committee_id, Origin.KEYGEN)
        self.records = Records(self.store, {"secp256k1": SUITE})
        self.presignatures: dict[bytes, Presignature] = {}
        self.planner = Planner(self.store, self.records, self.presignatures.get, lambda bits: (bits,) * 4)
        keys = node_keys()[0]
        self.membership = Membership(COMMITTEE, holder(1), keys.sign, self.records.protos)

    def plan(self, proposal: Proposal) -> tuple[Plan, PolicyRequest]:
        return self.planner.plan(self.membership, SUITE, proposal, "who")

    def declined(self, proposal: Proposal) -> str:
        with pytest.raises(Declined) as caught:
            self.plan(proposal)
        return caught.value.code

    def propose(self, kind: str, tail: list[Any], **fields: Any) -> Proposal:
        values: dict[str, Any] = {
            "initiator": holder(2),
            "committee_id": COMMITTEE.committee_id,
            "account_id": "alice",
            "kind": kind,
            "request_id": REQUEST,
            "tail": tail,
            "message": None,
            "expiry": 2_000_000_000,
        }
        return Proposal(**(values | fields))

    def full_sign(self, signers: tuple[int, ...] = (1, 2), owner: int = 2, **fields: Any) -> Proposal:
        tail = presign.full_tail(SHARES[0], self.aux, signers, owner, SignRequest(DIGEST, PATH))
        values = {"message": encode(to_value(Digest(DIGEST)))} | fields
        return self.propose(presign.FULL_KIND, tail, **values)

    def presign(self, batch: int = 2, **fields: Any) -> Proposal:
        return self.propose(presign.KIND, presign.tail(SHARES[0], self.aux, (1, 2), 2, batch), **fields)

    def add_presignature(self, owner: int = 2, **changes: Any) -> Presignature:
        made = dealt_presignature({share.me: share for share in SHARES}, (1, 2), owner)[1]
        public = replace(made.public, aux_id=self.aux.aux_id, **changes)
        held = Presignature(SUITE, 1, public, 1, 1)
        self.presignatures[held.id] = held
        return held

    def stock_sign(self, held: Presignature, **fields: Any) -> Proposal:
        request = SignRequest(DIGEST, PATH)
        tau = derive(SHARES[0].X, SHARES[0].chain_code, PATH).tau
        values = {"message": encode(to_value(Digest(DIGEST)))} | fields
        return self.propose(sign.KIND, sign.tail(held.id, request, tau, (1, 2), b"e" * 32), **values)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


# -- what comes of good ones ------------------------------------------------------------------------------------------


def test_key_generation_takes_everybody(world):
    plan, request = world.plan(world.propose(keygen.KIND, keygen.tail(3, 2), account_id="new"))
    assert plan.points == (1, 2, 3)
    assert (plan.setup.round0, plan.kind, plan.presignature) == (Round0.BLOCKING, "keygen", None)
    assert (request.action, request.account_id, request.payload) == (Action.KEYGEN, "new", None)
    assert plan.audit.caller == "who"
    assert plan.ph == plan.proposal.hash(SUITE)


def test_an_aux_run_knows_the_accounts_that_it_is_for(world):
    key_id = world.store.accounts.account("alice").key_id
    proposal = world.propose(aux_info.KIND, aux_info.tail([key_id]), account_id=None)
    plan, request = world.plan(proposal)
    assert plan.accounts == ("alice",)
    assert plan.points == (1, 2, 3)
    assert request.action is Action.AUX
    assert world.plan(replace(proposal, tail=aux_info.tail(None)))[0].accounts == ()


def test_full_signing_is_by_the_named_signers(world):
    plan, request = world.plan(world.full_sign())
    assert plan.points == (1, 2)
    assert plan.setup.round0 is Round0.WITH_ROUND_1
    assert (request.action, request.payload, request.digest, request.path) == (
        Action.SIGN, PayloadKind.DIGEST, DIGEST, "m/0/5",
    )  # fmt: skip
    assert request.signers == (0, 1)
    assert request.committee_id == COMMITTEE.committee_id
    assert (plan.audit.decision, plan.audit.digest, plan.audit.signers) == ("signed", DIGEST, (0, 1))


def test_presigning_has_no_content(world):
    plan, request = world.plan(world.presign())
    assert (request.action, request.payload, request.digest) == (Action.PRESIGN, None, None)
    assert plan.audit.decision == "allow"


@pytest.mark.parametrize("propose", [World.presign, World.full_sign])
def test_presigning_takes_from_the_pool_of_its_suite(world, propose):
    pools = Pools()
    planner = Planner(world.store, world.records, world.presignatures.get, lambda bits: (bits,) * 4, pools.of)
    for proposing, expected in ((planner, pools.of(SUITE)), (world.planner, PLAIN)):
        plan, _ = proposing.plan(world.membership, SUITE, propose(world), "who")
        assert plan.program.keywords["randomizers"] is expected


def test_stock_signing_holds_its_presignature(world):
    held = world.add_presignature()
    plan, request = world.plan(world.stock_sign(held))
    assert plan.presignature is held
    assert plan.setup.round0 is Round0.NONE
    assert request.digest == DIGEST


def test_signers_of_a_proposal(world):
    assert signer_points(world.full_sign()) == (1, 2)
    assert signer_points(world.propose(keygen.KIND, keygen.tail(3, 2))) is None


def test_the_policy_sees_what_a_message_says(world):
    message = Message(b"pay nobody", "keccak256")
    from participant.payloads import decode

    keys = world.records.account("alice").keys
    digest = decode(message, keys, PATH).digests[0].digest
    tail = presign.full_tail(SHARES[0], world.aux, (1, 2), 2, SignRequest(digest, PATH))
    proposal = world.propose(presign.FULL_KIND, tail, message=encode(to_value(message)))
    _, request = world.plan(proposal)
    assert request.payload is PayloadKind.MESSAGE
    assert request.content.message == b"pay nobody"


# -- what is declined ---------------------------------------------------------------------------------------------------

Change = Callable[[World], Proposal]


def other_committee() -> Committee:
    return committee_of(seed="other")


def frozen(world: World) -> Proposal:
    world.store.accounts.set_state("alice", AccountState.FROZEN)
    return world.full_sign()


def quarantined(world: World, index: int = 1) -> World:
    world.store.quarantine.add(COMMITTEE.identities[index], COMMITTEE.committee_id, "a failed proof")
    return world


def blocked(world: World) -> World:
    world.store.sessions.remember(sid_of(9), "presign", COMMITTEE.committee_id, sid_of(9))
    world.store.blocked.block(sid_of(9), COMMITTEE.committee_id, (1, 2), b"", "failed delta")
    return world


def without_aux(world: World) -> Proposal:
    second = committee_of(2, 2, "second")
    world.store.accounts.put_committee(second)
    share = deal(SUITE, 2, 2, "imported")[0]
    world.store.accounts.add(NewShare.of("imported", share), second.committee_id, Origin.IMPORT)
    world.membership = Membership(second, holder(1), node_keys()[0].sign, world.records.protos)
    proposal = world.full_sign(account_id="imported")
    return replace(proposal, committee_id=second.committee_id)


def waiting_keygen(world: World) -> Proposal:
    share = deal(SUITE, seed="pending")[0]
    state = NewState(shares=(NewShare.of("pending", share),))
    world.store.sessions.remember(sid_of(1), "keygen", COMMITTEE.committee_id, sid_of(2))
    world.store.sessions.put_pending(
        sid_of(1), "keygen", COMMITTEE.committee_id, state, encode(["proto", bytes(32)]), b"done", party=1
    )
    return world.propose(aux_info.KIND, aux_info.tail(None), account_id=None)


def changed_tail(world: World, position: int, value: Any) -> Proposal:
    proposal = world.full_sign()
    tail = list(proposal.tail)
    tail[position] = value
    return replace(proposal, tail=tail)


def no_aux_yet(world: World) -> Proposal:
    second = committee_of(2, 2, "second")
    world.store.accounts.put_committee(second)
    world.membership = Membership(second, holder(1), node_keys()[0].sign, world.records.protos)
    return world.propose(keygen.KIND, keygen.tail(2, 2), account_id="new", committee_id=second.committee_id)


DECLINED: dict[str, tuple[str, Change]] = {
    "other-committee": (
        Decline.OTHER_COMMITTEE,
        lambda w: w.full_sign(committee_id=other_committee().committee_id),
    ),
    "ceremony-of-another-committee": (
        Decline.OTHER_COMMITTEE,
        lambda w: w.propose(
            keygen.KIND, keygen.tail(3, 2), account_id="new", committee_id=other_committee().committee_id
        ),
    ),
    "initiator-no-signer": (Decline.BAD_SIGNER_SET, lambda w: w.full_sign(initiator=holder(3))),
    "no-member": (Decline.BAD_SIGNER_SET, lambda w: changed_tail(w, 4, [1, 2, 9])),
    "too-many-signers": (Decline.BAD_SIGNER_SET, lambda w: changed_tail(w, 4, [1, 2, 3])),
    "twice": (Decline.BAD_SIGNER_SET, lambda w: changed_tail(w, 4, [2, 2])),
    "quarantine": (Decline.QUARANTINED, lambda w: quarantined(w).full_sign()),
    "blocked-set": (Decline.SET_BLOCKED, lambda w: blocked(w).full_sign()),
    "blocked-set-presigning": (Decline.SET_BLOCKED, lambda w: blocked(w).presign()),
    "quarantine-ceremony": (
        Decline.QUARANTINED,
        lambda w: quarantined(w, 2).propose(keygen.KIND, keygen.tail(3, 2), account_id="new"),
    ),
    "unknown-account": (Decline.KEY_SHARE_NOT_FOUND, lambda w: w.full_sign(account_id="bob")),
    "no-account": (Decline.UNREADABLE, lambda w: w.full_sign(account_id=None)),
    "frozen": (Decline.ACCOUNT_FROZEN, frozen),
    "no-aux": (Decline.NEEDS_AUX, without_aux),
    "other-key": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 0, bytes(32))),
    "other-public-key": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 1, SUITE.group.G)),
    "other-epoch": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 2, bytes(32))),
    "other-aux": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 3, bytes(32))),
    "other-shares": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 5, [SUITE.group.G] * 2)),
    "other-moduli": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 6, [[1, 1, 1, 1]] * 2)),
    "larger-batch": (Decline.RECORDS_DIFFER, lambda w: changed_tail(w, 8, 2)),
    "not-the-owner": (Decline.NOT_THE_OWNER, lambda w: w.full_sign(owner=1)),
    "no-payload": (Decline.BAD_PAYLOAD, lambda w: w.full_sign(message=None)),
    "other-payload": (
        Decline.BAD_PAYLOAD,
        lambda w: w.full_sign(message=encode(to_value(Digest(bytes(32))))),
    ),
    "unreadable-payload": (Decline.BAD_PAYLOAD, lambda w: w.full_sign(message=b"\x07")),
    "unknown-payload": (Decline.BAD_PAYLOAD, lambda w: w.full_sign(message=encode(["poem", b"", None]))),
    "empty-batch": (Decline.UNREADABLE, lambda w: w.presign(0)),
    "huge-batch": (Decline.UNREADABLE, lambda w: w.presign(presign.MAX_BATCH + 1)),
    "keygen-of-a-known-account": (
        Decline.ACCOUNT_EXISTS,
        lambda w: w.propose(keygen.KIND, keygen.tail(3, 2)),
    ),
    "keygen-without-account": (
        Decline.UNREADABLE,
        lambda w: w.propose(keygen.KIND, keygen.tail(3, 2), account_id=None),
    ),
    "keygen-with-an-impossible-name": (
        Decline.UNREADABLE,
        lambda w: w.propose(keygen.KIND, keygen.tail(3, 2), account_id=""),
    ),
    "keygen-of-other-size": (
        Decline.RECORDS_DIFFER,
        lambda w: w.propose(keygen.KIND, keygen.tail(4, 2), account_id="new"),
    ),
    "threshold-1": (
        Decline.RECORDS_DIFFER,
        lambda w: w.propose(keygen.KIND, keygen.tail(3, 1), account_id="new"),
    ),
    "threshold-n+1": (
        Decline.RECORDS_DIFFER,
        lambda w: w.propose(keygen.KIND, keygen.tail(3, 4), account_id="new"),
    ),
    "keygen-before-aux": (Decline.NEEDS_AUX, no_aux_yet),
    "aux-for-unknown-keys": (
        Decline.RECORDS_DIFFER,
        lambda w: w.propose(aux_info.KIND, aux_info.tail([bytes(32)]), account_id=None),
    ),
    "aux-while-a-keygen-waits": (Decline.PENDING, waiting_keygen),
    "presignature-unknown": (
        Decline.PRESIGNATURE_UNKNOWN,
        lambda w: w.stock_sign(dealt_presignature({s.me: s for s in SHARES}, (1, 2), 2, seed=9)[1]),
    ),
    "presignature-of-another-epoch": (
        Decline.RECORDS_DIFFER,
        lambda w: w.stock_sign(w.add_presignature(share_epoch=bytes(32))),
    ),
    "presignature-of-another": (Decline.NOT_THE_OWNER, lambda w: w.stock_sign(w.add_presignature(owner=1))),
}


@pytest.mark.attack("D8")
@pytest.mark.attack("D12")
@pytest.mark.attack("D14")
@pytest.mark.parametrize("name", DECLINED)
def test_declined(world, name):
    code, make = DECLINED[name]
    assert world.declined(make(world)) == code


@pytest.mark.attack("D1")
@pytest.mark.attack("D14")
def test_stock_signing_checks_tau_and_signers(world):
    held = world.add_presignature()
    good = world.stock_sign(held)
    for position, value in ((2, [0, 6]), (3, 5), (1, bytes(32))):
        tail = list(good.tail)
        tail[position] = value
        code = world.declined(replace(good, tail=tail))
        assert code in (Decline.RECORDS_DIFFER, Decline.BAD_PAYLOAD), position
    tail = [*good.tail[:4], [1, 2, 3], good.tail[5]]
    assert world.declined(replace(good, tail=tail)) == Decline.RECORDS_DIFFER


def test_a_transaction_for_another_sender_is_not_signed(world):
    transaction = {
        "to": "0x" + "11" * 20, "value": 1, "nonce": 0, "gas": 21000, "gasPrice": 1, "chainId": 1,
        "from": "0x" + "22" * 20,
    }  # fmt: skip
    payload = EthereumTx.parse(transaction)
    assert world.declined(world.full_sign(message=encode(to_value(payload)))) == Decline.BAD_PAYLOAD


def test_a_damaged_share_is_not_used(world, tmp_path):
    world.store.close()
    raw(tmp_path / "store.db", "UPDATE share SET sealed_share = zeroblob(length(sealed_share))")
    with Store.open(tmp_path / "store.db", wrapper()) as store:
        records = Records(store, {"secp256k1": SUITE})
        planner = Planner(store, records, lambda _: None, lambda bits: (bits,) * 4)
        with pytest.raises(Declined) as caught:
            planner.plan(world.membership, SUITE, world.full_sign(), "who")
        assert caught.value.code == Decline.SHARE_DAMAGED


def test_primes_are_of_the_level_that_the_suite_has(world):
    asked: list[int] = []

    def take(bits: int) -> tuple[int, int, int, int]:
        asked.append(bits)
        return (bits,) * 4

    planner = Planner(world.store, world.records, world.presignatures.get, take)
    proposal = world.propose(aux_info.KIND, aux_info.tail(None), account_id=None)
    plan, _ = planner.plan(world.membership, SUITE, proposal, "who")
    plan.program.keywords["take_primes"]()  # type: ignore[attr-defined]
    assert asked == [SUITE.level.pb]


def test_no_secret_is_shown(world):
    plan, request = world.plan(world.full_sign())
    text = repr(plan) + repr(request)
    assert str(SHARES[0].x) not in text
    assert f"{SHARES[0].x:x}" not in text
    assert SHARES[0].chain_code.hex() not in text
