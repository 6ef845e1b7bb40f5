"""What callers and operators see of accounts: states, what is pending, and only what they may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bip_utils import Bip32ChainCode, Bip32KeyData, Bip32Slip10Secp256k1, EthAddrEncoder
from node_testing import aux_sets, committee_of, deal, new_store, raw, share_state, sid_of, wrapper
from tss_testing import SMALL_SECP, TINY

from participant.callers import Caller
from participant.node.api import AccountStatus
from participant.node.errors import (
    AccountUnknown,
    HardenedPathRequested,
    NodeFailure,
    NotAllowed,
    ShareDamaged,
)
from participant.node.records import Records
from participant.node.views import Views, addresses
from participant.policy import (
    AccountRule,
    Action,
    Policy,
    PolicySettings,
    RulePolicy,
    permissive_development_policy,
)
from participant.store import AccountState, NewAux, NewShare, Origin, Store
from tss.errors import ShareCorrupt

SUITES = {"secp256k1": SMALL_SECP, "toy32": TINY}
CID = committee_of().committee_id
OTHER = committee_of(3, 2, "other")
SHARE = deal(SMALL_SECP)[0]
AUX = aux_sets(SMALL_SECP)[0]
ANYBODY = RulePolicy(permissive_development_policy())


def add(store: Store, account_id: str, *, committee_id: bytes = CID, seed: object = 0) -> None:
    share = NewShare.of(account_id, deal(SMALL_SECP, seed=seed)[0])
    store.accounts.add(share, committee_id, Origin.KEYGEN)


def pend(store: Store, number: int, account_id: str, *, committee_id: bytes = CID) -> bytes:
    sid, state = sid_of(number), share_state(account_id, deal(SMALL_SECP, seed=number)[0])
    store.sessions.remember(sid, "keygen", committee_id, bytes(32))
    store.sessions.put_pending(sid, "keygen", committee_id, state, b"public", b"done", party=1)
    return sid


def views(store: Store, policy: Policy = ANYBODY) -> Views:
    return Views(store, Records(store, SUITES), policy)


def reading(**callers: list[str]) -> RulePolicy:
    """A policy in which the rule of an account lists callers."""
    return RulePolicy(
        PolicySettings(
            rules=[
                AccountRule(accounts=[name], callers=listed, proposers=["*"])
                for name, listed in callers.items()
            ]
        )
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path) as opened:
        opened.accounts.put_committee(OTHER)
        yield opened


# -- one account ----------------------------------------------------------------------------------------------------


def test_an_accounts_view_is_its_record(store):
    store.accounts.put_aux(CID, NewAux.of(AUX))
    add(store, "alice")
    record = store.accounts.account("alice")
    view = views(store).one("alice")
    assert (view.account_id, view.curve, view.threshold, view.parties, view.index) == (
        "alice", "secp256k1", 2, 3, 0,
    )  # fmt: skip
    assert (view.committee_id, view.key_id, view.share_epoch, view.aux_id) == (
        CID, SHARE.key_id, SHARE.share_epoch, AUX.aux_id,
    )  # fmt: skip
    assert view.public_key == SHARE.X.to_bytes()
    assert view.addresses["ethereum"] == EthAddrEncoder.EncodeKey(view.public_key)
    assert view.created_at == record.created_at // 1000
    assert view.last_signed_at is None
    store.accounts.mark_signed("alice")
    signed = store.accounts.account("alice").last_signed_at
    assert signed is not None
    assert views(store).one("alice").last_signed_at == signed // 1000


def test_what_an_account_can_do(store):
    shown = views(store)
    add(store, "alice")
    assert shown.one("alice").status is AccountStatus.NEEDS_AUX
    store.accounts.put_aux(CID, NewAux.of(AUX))
    assert shown.one("alice").status is AccountStatus.ACTIVE
    store.accounts.set_state("alice", AccountState.FROZEN)
    assert shown.one("alice").status is AccountStatus.FROZEN
    store.accounts.set_state("alice", AccountState.ACTIVE)
    assert shown.one("alice").status is AccountStatus.ACTIVE


def test_a_damaged_share_shows_whatever_else_the_account_is(tmp_path, store):
    store.accounts.put_aux(CID, NewAux.of(AUX))
    add(store, "alice")
    add(store, "bob", seed=1)
    store.accounts.set_state("alice", AccountState.FROZEN)
    store.close()
    raw(store.path, "UPDATE share SET sealed_share = zeroblob(80) WHERE account_id = 'alice'")
    with Store.open(store.path, wrapper()) as opened:
        shown = views(opened)
        with pytest.raises(ShareCorrupt):
            shown._records.account("alice")
        assert shown.one("alice").status is AccountStatus.DAMAGED
        assert shown.one("bob").status is AccountStatus.ACTIVE
        with pytest.raises(ShareDamaged):
            shown.public_key("alice", "", None)


def test_a_pending_account_shows_nothing_that_is_not_certain(store):
    """A key is shown to a user only when its certificate is stored (protocol.md 0.8)."""
    sid = pend(store, 1, "alice")
    view = views(store).one("alice")
    assert view.status is AccountStatus.PENDING
    assert (view.key_id, view.public_key, view.share_epoch, view.aux_id) == (b"", b"", b"", None)
    assert not view.addresses
    assert (view.account_id, view.curve, view.threshold, view.parties, view.index) == (
        "alice", "secp256k1", 2, 3, 0,
    )  # fmt: skip
    assert view.created_at == store.sessions.pending(sid).created_at // 1000
    with pytest.raises(AccountUnknown):
        views(store).public_key("alice", "m", None)
    store.sessions.activate(sid, [b"1", b"2", b"3"])
    assert views(store).one("alice").public_key == deal(SMALL_SECP, seed=1)[0].X.to_bytes()


def test_pending_state_that_was_given_up_is_not_shown(store):
    store.sessions.void_pending(pend(store, 1, "alice"))
    with pytest.raises(AccountUnknown):
        views(store).one("alice")
    assert views(store).all(None, None) == []


def test_an_unknown_account(store):
    with pytest.raises(AccountUnknown, match="Key share not found: this node has no account 'nobody'"):
        views(store).one("nobody")
    with pytest.raises(NodeFailure, match="Key share not found"):
        views(store).public_key("nobody", "m", None)


# -- all of them ----------------------------------------------------------------------------------------------------


def test_all_are_sorted_by_the_bytes_of_their_ids(store):
    names = ["b", "a", "B", "é", "z", "a b"]
    for number, name in enumerate(names):
        add(store, name, seed=number)
    pend(store, 1, "c")
    pend(store, 2, "A")
    found = [view.account_id for view in views(store).all(None, None)]
    assert found == sorted([*names, "c", "A"], key=str.encode)


def test_all_of_one_committee(store):
    add(store, "alice")
    add(store, "bob", committee_id=OTHER.committee_id, seed=1)
    pend(store, 1, "carol")
    pend(store, 2, "dave", committee_id=OTHER.committee_id)
    shown = views(store)
    assert [view.account_id for view in shown.all(CID, None)] == ["alice", "carol"]
    assert [view.account_id for view in shown.all(OTHER.committee_id, None)] == ["bob", "dave"]
    assert len(shown.all(None, None)) == 4
    assert shown.all(bytes(32), None) == []


def test_an_account_with_a_new_epoch_on_its_way_is_listed_once(store):
    add(store, "alice")
    fresh = replace(deal(SMALL_SECP)[0], share_epoch=b"\x0e" * 32)
    store.sessions.remember(sid_of(1), "refresh", CID, bytes(32))
    store.sessions.put_pending(
        sid_of(1), "refresh", CID, share_state("alice", fresh), b"public", b"done", party=1
    )
    (view,) = views(store).all(None, None)
    assert view.status is AccountStatus.NEEDS_AUX
    assert view.share_epoch == SHARE.share_epoch


# -- who may see ----------------------------------------------------------------------------------------------------


def test_callers_see_what_the_policy_lets_them_read(store):
    for number, name in enumerate(("alice", "bob", "carol")):
        add(store, name, seed=number)
    pend(store, 7, "dave")
    shown = views(store, reading(alice=["web"], bob=["shop", "web"], dave=["shop"]))

    def listed(caller: Caller | None) -> list[str]:
        return [view.account_id for view in shown.all(None, caller)]

    assert listed(Caller("web")) == ["alice", "bob"]
    assert listed(Caller("shop")) == ["bob", "dave"]
    assert listed(Caller("stranger")) == []
    assert listed(None) == ["alice", "bob", "carol", "dave"], "the operator sees all"


def test_a_callers_own_list_narrows_it_further(store):
    for number, name in enumerate(("alice", "bob")):
        add(store, name, seed=number)
    shown = views(store)
    narrow = Caller("web", accounts=frozenset({"bob"}))
    assert [view.account_id for view in shown.all(None, narrow)] == ["bob"]
    assert shown.may_read("bob", narrow)
    assert not shown.may_read("alice", narrow)
    assert not shown.may_read("bob", Caller("web", accounts=frozenset()))


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_who_may_not_read_learns_not_even_whether_it_exists(store, name):
    add(store, "alice")
    shown, caller = views(store, reading(bob=["*"])), Caller("web")
    for look in (
        lambda: shown.one(name, caller),
        lambda: shown.public_key(name, "m", caller),
        lambda: shown.check_read(name, caller),
    ):
        with pytest.raises(NotAllowed, match=f"caller 'web' may not read account '{name}' on this node"):
            look()
    shown.check_read(name, None)


def test_the_policy_is_asked_about_reading_with_the_callers_name(store):
    asked = []

    class Asking(RulePolicy):
        def decide(self, request):
            asked.append((request.action, request.account_id, request.caller))
            return super().decide(request)

    shown = views(store, Asking(permissive_development_policy()))
    assert shown.may_read("alice", Caller("web"))
    assert shown.may_read("alice", None)
    assert asked == [(Action.READ, "alice", "web")]


# -- keys at paths --------------------------------------------------------------------------------------------------


def foreign(path: str) -> bytes:
    """By another library."""
    data = Bip32KeyData(chain_code=Bip32ChainCode(SHARE.chain_code))
    key = Bip32Slip10Secp256k1.FromPublicKey(SHARE.X.to_bytes(), data)
    for step in path.split("/")[1:]:
        key = key.ChildKey(int(step))
    return key.PublicKey().RawCompressed().ToBytes()


@pytest.mark.parametrize("path", ["m", "m/0", "m/44/60/0/0/7", "m/2147483647"])
def test_the_key_at_a_path(store, path):
    add(store, "alice")
    view = views(store).public_key("alice", path, None)
    assert (view.account_id, view.path, view.curve) == ("alice", path, "secp256k1")
    assert view.public_key == foreign(path)
    assert view.addresses["ethereum"] == EthAddrEncoder.EncodeKey(view.public_key)


def test_no_path_is_the_root(store):
    add(store, "alice")
    view = views(store).public_key("alice", "", Caller("web"))
    assert (view.path, view.public_key) == ("m", SHARE.X.to_bytes())


@pytest.mark.parametrize(
    ("path", "failure"), [("m/44'", HardenedPathRequested), ("m/x", NodeFailure), ("0/1", NodeFailure)]
)
def test_paths_that_lead_nowhere(store, path, failure):
    add(store, "alice")
    with pytest.raises(failure):
        views(store).public_key("alice", path, None)


def test_addresses_belong_to_curves_that_have_some():
    key = SHARE.X.to_bytes()
    assert "ethereum" in addresses("secp256k1", key)
    assert addresses("toy32", deal(TINY)[0].X.to_bytes()) == {}
    # Solana's system program is 32 zero bytes.
    assert addresses("ed25519", bytes(32)) == {"solana": "1" * 32}
    assert addresses("ed25519", b"") == {}
    assert addresses("secp256k1", b"") == {}
