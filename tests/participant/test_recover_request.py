"""Requests to recover lost shares, and identities for lost places."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from node_testing import committee_of, deal
from tss_testing import SMALL_SECP, SeededRng

from participant import replacement
from participant.committee import BadCommittee, Committee
from participant.recover_request import RecoverRequest, is_recovery
from participant.replacement import keys_for_place, with_member
from participant.reshare_request import BadRequest
from tss.params import FROST_ED25519
from tss.records import KeyShare

SUITES = {"secp256k1": SMALL_SECP, "ed25519": FROST_ED25519}
OLD = committee_of()
NEW = with_member(OLD, 1, keys_for_place(OLD, 1, SeededRng("replacement")).card())
AUX = b"a" * 32


def shares(**seeds: object) -> dict[str, tuple[KeyShare, bytes | None]]:
    return {name: (deal(SMALL_SECP, seed=seed)[0], AUX) for name, seed in seeds.items()}


def request(
    new: Committee = NEW, index: int = 1, helpers: tuple[int, ...] = (0, 2), **seeds: object
) -> RecoverRequest:
    return RecoverRequest.of(OLD, new, index, helpers, shares(**(seeds or {"main": 0})))


@pytest.mark.parametrize("new", [OLD, NEW], ids=["same identity", "replaced"])
def test_the_file_says_it_all(new):
    made = request(new, alice="a", bob="b")
    text = made.to_yaml()
    assert is_recovery(text)
    read = RecoverRequest.from_yaml(text, SUITES)
    assert read == made
    assert read.request_id == made.request_id
    assert read.identity == new.identities[1]
    assert [party.role for party in sorted(read.seats)] == ["helper", "helper", "recipient"]
    assert read.account("alice") is not None
    assert read.account("carol") is None


def test_everything_in_it_is_in_its_id():
    made = request()
    ids = {
        made.request_id,
        request(OLD).request_id,
        request(main="other").request_id,
        request(main=0, more=1).request_id,
        RecoverRequest.of(OLD, NEW, 1, (0, 2), {"main": (shares(main=0)["main"][0], None)}).request_id,
        RecoverRequest.of(OLD, NEW, 1, (0, 2), {"name": shares(main=0)["main"]}).request_id,
    }
    assert len(ids) == 6
    value = yaml.safe_load(made.to_yaml())
    value["accounts"][0]["key_id"] = "00" * 32
    with pytest.raises(BadRequest, match="changed after it was made"):
        RecoverRequest.from_yaml(yaml.safe_dump(value), SUITES)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("not exactly the fields", lambda v: v.pop("lost")),
        ("another version or operation", lambda v: v.update(version=2)),
        ("another version or operation", lambda v: v.update(operation="reshare")),
        ("lost place is none", lambda v: v.update(lost=3)),
        ("helpers where exactly 2|different holders|helpers, where", lambda v: v.update(helpers=[0])),
        ("different holders", lambda v: v.update(helpers=[0, 1])),
        ("no whole number", lambda v: v.update(helpers=[0, True])),
        ("1 to 256 accounts", lambda v: v.update(accounts=[])),
        (
            "each once",
            lambda v: v["accounts"].append(
                dict(v["accounts"][0], public_shares=list(v["accounts"][0]["public_shares"]))
            ),
        ),
        ("exactly the fields of one", lambda v: v["accounts"][0].pop("aux_id")),
        ("curve is unknown", lambda v: v["accounts"][0].update(curve="p256")),
        ("do not fit its curve", lambda v: v["accounts"][0].update(chain_code_hash=None)),
        ("not numbered|one public share a member", lambda v: v["accounts"][0]["public_shares"].pop()),
        (
            "do not give the key",
            lambda v: v["accounts"][0].update(public_key=v["accounts"][0]["public_shares"][0]),
        ),
        ("cannot be read", lambda v: v["accounts"][0].update(key_id="zz")),
        (
            "same place|another identity in the lost place",
            lambda v: v.update(to=committee_of(seed=1).as_dict()),
        ),
    ],
)
def test_what_cannot_be_is_refused(what, change):
    value = yaml.safe_load(request().to_yaml())
    change(value)
    with pytest.raises(BadRequest, match=what):
        RecoverRequest.from_yaml(yaml.safe_dump(value), SUITES)


def test_accounts_of_several_thresholds_take_several_requests():
    accounts = shares(alice=0) | {"bob": (deal(SMALL_SECP, t=3)[0], AUX)}
    with pytest.raises(BadRequest, match="account 'bob': 2 helpers, where exactly 3"):
        RecoverRequest.of(OLD, NEW, 1, (0, 2), accounts)


def test_an_identity_for_a_place_keeps_everybody_elses():
    for index in range(OLD.n):
        keys = keys_for_place(OLD, index, SeededRng(("place", index)))
        new = with_member(OLD, index, keys.card())
        assert new.identities[index] == keys.identity
        others = [place for place in range(OLD.n) if place != index]
        assert [new.identities[place] for place in others] == [OLD.identities[place] for place in others]
        elsewhere = (index + 1) % OLD.n
        if OLD.n > 1 and new.committee_id != OLD.committee_id:
            with pytest.raises(BadCommittee):
                with_member(replace(new), elsewhere, keys.card())
    for index in (-1, 3):
        with pytest.raises(BadCommittee, match="no place of the committee"):
            keys_for_place(OLD, index)


def test_neighbours_that_are_too_close_are_told_apart_by_resharing(monkeypatch):
    monkeypatch.setattr(replacement, "MAX_TRIES", 0)
    with pytest.raises(BadCommittee, match="reshare to a committee"):
        keys_for_place(OLD, 1)
