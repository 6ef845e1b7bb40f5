import json

import nacl.bindings
import pytest
from node_testing import node_keys
from tss_testing import SeededRng

from participant.identity import BadCard, Card, NodeKeys
from tss.envelope import verify_signature


def test_keys_round_trip_and_sign():
    keys = NodeKeys.generate(SeededRng("keys"))
    again = NodeKeys.from_bytes(keys.to_bytes())
    assert (again.identity, again.gateway_access) == (keys.identity, keys.gateway_access)
    assert keys.identity != keys.gateway_access
    assert verify_signature(keys.identity, b"body", again.sign(b"body"))
    assert verify_signature(keys.gateway_access, b"body", keys.sign_for_gateway(b"body"))
    assert not verify_signature(keys.gateway_access, b"body", keys.sign(b"body"))


def test_repr_shows_no_seed():
    keys = NodeKeys.generate(SeededRng("keys"))
    assert all(seed.hex() not in repr(keys) for seed in keys._seeds)
    assert keys.identity.hex() in repr(keys)


@pytest.mark.parametrize("data", [b"", b"\0" * 10, NodeKeys.generate(SeededRng(1)).to_bytes()[:-1]])
def test_damaged_keys(data):
    with pytest.raises(ValueError, match="damaged"):
        NodeKeys.from_bytes(data)


def test_seeds_of_another_length():
    with pytest.raises(ValueError, match="32 bytes"):
        NodeKeys(bytes(31), bytes(32))


def test_card_round_trip():
    card = node_keys()[0].card()
    card.verify()
    assert Card.from_json(card.to_json()) == card
    assert set(json.loads(card.to_json())) == {"version", "identity", "gateway_access", "signature"}


def _changed(**change):
    return json.dumps(node_keys()[0].card().as_dict() | change)


SMALL_ORDER = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON"),
        ("[]", "exactly the keys"),
        ("null", "exactly the keys"),
        ('{"version": 1}', "exactly the keys"),
        (_changed(extra=1), "exactly the keys"),
        (_changed(version=2), "version 2; this release reads version 1"),
        (_changed(version=True), "version True"),
        (_changed(version="1"), "version '1'"),
        (_changed(identity=node_keys()[1].identity.hex()), "not signed by its identity key"),
        (_changed(gateway_access=node_keys()[1].gateway_access.hex()), "not signed by its identity key"),
        (_changed(gateway_access=node_keys()[0].identity.hex()), "one key for two purposes"),
        (_changed(signature="00" * 64), "not signed"),
        (_changed(signature="00" * 63), "128 lower-case"),
        (_changed(identity=node_keys()[0].identity.hex().upper()), "64 lower-case"),
        (_changed(identity=7), "64 lower-case"),
        (_changed(identity="00" * 32), "not an Ed25519 public key"),
        (_changed(identity="01" + "00" * 31), "not an Ed25519 public key"),
        (_changed(identity=SMALL_ORDER), "not an Ed25519 public key"),
        (_changed(gateway_access="ff" * 32), "not an Ed25519 public key"),
        ('{"version": 1, "version": 1}', "stands twice"),
        (node_keys()[0].card().to_json() + "x", "not JSON"),
        ("[" * 4000, "nested"),
        (" " * 5000, "at most 4096"),
    ],
)
def test_bad_cards(text, expected):
    with pytest.raises(BadCard, match=expected):
        Card.from_json(text)


def test_every_flipped_digit_of_a_card_is_noticed():
    text = node_keys()[0].card().to_json()
    for position, digit in enumerate(text):
        flipped = text[:position] + ("0" if digit != "0" else "1") + text[position + 1 :]
        with pytest.raises(BadCard):
            Card.from_json(flipped)


def test_a_key_with_a_torsion_component_is_no_identity():
    # Added to an honest key, a point of order 8 gives one that some verifiers take and others refuse.
    mixed = nacl.bindings.crypto_core_ed25519_add(node_keys()[0].identity, bytes.fromhex(SMALL_ORDER))
    with pytest.raises(BadCard, match="not an Ed25519 public key"):
        Card.from_json(_changed(identity=mixed.hex()))
