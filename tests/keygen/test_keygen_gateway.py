"""gateway-keys, renew-access, and what init writes for them."""

import json
import stat

import pytest
from keygen_testing import assert_absent, fails, succeeds
from node_testing import node_keys

from gateway.key_set import parse_key_set
from gateway.settings import load as load_gateway
from gateway.tokens import Verifier
from keygen.node_files import NodeFiles
from participant.committee import Committee, write_committee
from participant.gateway_tokens import RoomTokens, key_set
from participant.identity import Card


def numbers(text):
    """The public keys of a key set, as the gateway reads it."""
    return [key.number for key in parse_key_set(text.encode()).values()]


@pytest.fixture
def places(tmp_path):
    """A card file, a node's directory and a committee file, and the access keys in each."""
    keys = node_keys(4)
    (tmp_path / "card").write_text(keys[0].card().to_json())
    succeeds("identity", tmp_path / "node")
    of_node = Card.from_json((tmp_path / "node" / "identity").read_text())
    committee = Committee.of([one.card() for one in keys[1:]], 2)
    write_committee(tmp_path / "committee.yaml", committee)
    return {
        tmp_path / "card": [keys[0].gateway_access],
        tmp_path / "node": [of_node.gateway_access],
        tmp_path / "committee.yaml": [card.gateway_access for card in committee.members],
    }


def test_a_key_set_of_cards_directories_and_committees(places):
    ran = succeeds("gateway-keys", *places)
    assert numbers(ran.out) == [key for keys in places.values() for key in keys]
    for place, keys in places.items():
        assert numbers(succeeds("gateway-keys", place).out) == keys
        assert numbers(succeeds("gateway-keys", place, place).out) == keys, "the same key stands there once"


def test_a_file_is_replaced_as_a_whole(places, tmp_path):
    path = tmp_path / "keys.json"
    first, second, *_ = places
    for place in (first, second):
        ran = succeeds("gateway-keys", place, "-o", path)
        assert (ran.out, "1 keys written" in ran.err) == ("", True)
        assert numbers(path.read_text()) == places[place]
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    before = path.read_bytes()
    fails(3, "gateway-keys", tmp_path / "none", "-o", path)
    assert path.read_bytes() == before
    assert "cannot write" in fails(3, "gateway-keys", first, "-o", tmp_path / "no" / "keys.json").err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["card", "committee.yaml", "keys.json", "node"]


def test_what_is_no_card_is_named(tmp_path):
    keys = node_keys(2)
    forged = keys[0].card().as_dict() | {"gateway_access": keys[1].gateway_access.hex()}
    for name, content, says in (
        ("forged", json.dumps(forged), "not signed by its identity key"),
        ("junk", "junk", "neither a card nor a committee file"),
        ("seal.key", "00" * 32, "neither a card nor a committee file"),
    ):
        (tmp_path / name).write_text(content)
        ran = fails(3, "gateway-keys", tmp_path / name)
        assert says in ran.err
        assert name in ran.err


def test_another_access_key_and_the_same_identity(tmp_path):
    node, other = tmp_path / "node", tmp_path / "other"
    before = Card.from_json(succeeds("identity", node).out)
    after = Card.from_json(succeeds("renew-access", node).out)
    assert after.identity == before.identity
    assert after.gateway_access != before.gateway_access
    assert Card.from_json((node / "identity").read_text()) == after
    assert Card.from_json(succeeds("identity", node).out) == after
    with NodeFiles.of(node).open() as store:
        assert store.identity().card() == after
        assert store.check() == []
        tokens, seeds = RoomTokens(store.identity()), store.identity()._seeds
        in_use = fails(3, "renew-access", node, "--json")
    assert in_use.error["reason"] == "STORE_LOCKED"
    keys = parse_key_set(json.dumps(key_set([before, after])).encode())
    grant = Verifier(900, 0).check(tokens("room", "post"), keys, "room", "post")
    assert grant.key.number == after.gateway_access
    ran = succeeds("renew-access", node, "--json")
    assert ran.json["identity"] == before.identity.hex()
    assert_absent(seeds, ran.out, ran.err)
    fails(3, "renew-access", other)


@pytest.mark.parametrize("tls", [False, True])
def test_init_makes_a_key_set_and_uses_it_beyond_loopback(tmp_path, tls):
    directory = tmp_path / "dev"
    succeeds("init", directory, *(["--tls"] if tls else []))
    access = load_gateway(directory / "sign-gateway.yaml").access
    assert access.key_set == (directory / "gateway-keys.json" if tls else None)
    cards = [Card.from_json((directory / f"node-{i}" / "identity").read_text()) for i in range(3)]
    assert numbers((directory / "gateway-keys.json").read_text()) == [card.gateway_access for card in cards]


@pytest.mark.parametrize("command", ["gateway-keys", "renew-access"])
def test_help(command):
    ran = succeeds(command, "--help")
    assert ran.out.startswith("Usage: mpc-keygen")
    assert "Exit codes:" in ran.out
