import copy
import json
import stat

import pyrage
import pytest
from node_testing import committee_of, deal, new_store, node_keys
from sharefile_testing import PATH_ID, SUITES, entry, foreign, parse
from tss_testing import SMALL_SECP, TINY

from participant.age_files import (
    ShareFileError,
    ShareFileLocked,
    Unlock,
    decrypt,
    encrypt,
    is_encrypted,
    read_age_identities,
)
from participant.files import SecretFileError, SecretFileExposed, create_private
from participant.sharefile import (
    ShareEntry,
    ShareFileDamaged,
    ShareFileMissing,
    ShareMisplaced,
    encode_share_file,
    find_entry,
    parse_share_file,
    read_share_file,
    write_share_file,
)
from participant.store import KeyShareNotFound, NewShare, Origin
from tss.params import CGGMP24_SECP256K1
from tss.transcript import hash_commit


def test_foreign_shares_are_read_and_their_aux_discarded():
    entries = [
        parse({PATH_ID: foreign(i)}, suites={"secp256k1": CGGMP24_SECP256K1})[PATH_ID] for i in range(3)
    ]
    for i, found in enumerate(entries):
        dealt = deal(CGGMP24_SECP256K1)[i]
        assert (found.share.x, found.share.X, found.share.me, found.share.t) == (dealt.x, dealt.X, i + 1, 2)
        assert found.share.chain_code == dealt.chain_code
        assert found.aux is None
        assert found.foreign
        assert parse_share_file(json.dumps({"a": foreign(i)}).encode(), "x")["a"].share == found.share
    # All parties of the dealing agree on what the file does not say.
    assert len({(e.share.key_id, e.share.share_epoch) for e in entries}) == 1
    assert entries[0].share.key_id != entries[0].share.share_epoch


def test_another_dealing_has_another_key_id():
    first = parse({"a": foreign(suite=SMALL_SECP)})["a"].share
    second = parse({"a": foreign(t=3, suite=SMALL_SECP)})["a"].share
    assert first.key_id != second.key_id


@pytest.mark.parametrize("suite", [TINY, SMALL_SECP], ids=lambda suite: suite.proto)
@pytest.mark.parametrize("aux", [True, False])
def test_our_shape_round_trip(suite, aux):
    entries = [entry(PATH_ID, 0, 1, suite, aux=aux), entry("b", 1, 1, suite, aux=False)]
    data = encode_share_file(entries)
    found = parse(data)
    assert list(found) == [PATH_ID, "b"]
    assert found[PATH_ID].share == entries[0].share
    assert not found[PATH_ID].foreign
    assert (found[PATH_ID].aux is None) is not aux
    if aux:
        assert found[PATH_ID].aux.to_bytes() == entries[0].aux.to_bytes()
    assert encode_share_file(found.values()) == data
    shown = json.loads(data)[PATH_ID]
    assert shown["public_key"] == entries[0].share.X.to_bytes().hex()
    assert set(shown["key_share"]) == set(foreign()["core"])
    assert shown["key_share"]["i"] == 1


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(
        ShareFileMissing, match=r"Key share not found: there is no file .*none.json.*mpc-keygen"
    ):
        read_share_file(tmp_path / "none.json")
    with pytest.raises(ShareFileError, match="cannot read"):
        read_share_file(tmp_path)


def test_missing_account_lists_those_that_are_there():
    entries = parse(encode_share_file([entry("a"), entry("b", 1)]))
    assert find_entry(entries, "b", "shares.json").account_id == "b"
    with pytest.raises(
        KeyShareNotFound, match=r"Key share not found: shares.json has no account 'c'; .*'a', 'b'"
    ):
        find_entry(entries, "c", "shares.json")
    with pytest.raises(KeyShareNotFound, match=r"its accounts: none$"):
        find_entry({}, "c", "shares.json")


def test_a_file_that_is_too_long_is_not_parsed(monkeypatch):
    monkeypatch.setattr("participant.sharefile.MAX_SHARE_FILE", 1 << 20)
    with pytest.raises(ShareFileDamaged, match="longer than 1 MiB"):
        parse(b" " * ((1 << 20) + 1))


@pytest.mark.fault(8)
def test_plain_files_must_be_private(tmp_path):
    path = tmp_path / "shares.json"
    write_share_file(path, [entry()], plaintext=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_share_file(path, suites=SUITES)["a"].share == entry().share
    path.chmod(0o644)
    with pytest.raises(SecretFileExposed, match="chmod 600"):
        read_share_file(path, suites=SUITES)


def test_plain_text_only_when_told(tmp_path):
    path = tmp_path / "shares.json"
    key = str(pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(ShareFileError, match="either to recipients or with a password"):
        write_share_file(path, [entry()])
    with pytest.raises(ShareFileError, match="either to recipients or with a password"):
        write_share_file(path, [entry()], recipients=[key], password="pw")
    for extra in ({"password": "pw"}, {"recipients": [key]}):
        with pytest.raises(ShareFileError, match="exclude each other"):
            write_share_file(path, [entry()], plaintext=True, **extra)
    with pytest.raises(ShareFileError, match="not an age X25519 recipient"):
        write_share_file(path, [entry()], recipients=["age1nonsense"])
    assert not path.exists()
    write_share_file(path, [entry()], recipients=[key])
    with pytest.raises(SecretFileError, match="exists already"):
        write_share_file(path, [entry(seed=1)], recipients=[key])


def test_encrypted_to_recipients(tmp_path):
    path, keys = tmp_path / "shares.age", [pyrage.x25519.Identity.generate() for _ in range(3)]
    write_share_file(path, [entry()], recipients=[str(key.to_public()) for key in keys[:2]])
    data = path.read_bytes()
    assert is_encrypted(data)
    assert b"key_share" not in data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    for key in keys[:2]:
        assert read_share_file(path, Unlock([str(keys[2]), str(key)]), SUITES)["a"].share == entry().share
    with pytest.raises(ShareFileLocked, match="no given key opens"):
        read_share_file(path, Unlock([str(keys[2])]), SUITES)
    with pytest.raises(ShareFileLocked, match="is encrypted: give an age identity file"):
        read_share_file(path, suites=SUITES)
    with pytest.raises(ShareFileLocked, match="give an age identity file"):
        read_share_file(path, Unlock(password="pw"), SUITES)
    with pytest.raises(ShareFileLocked, match="not of the form AGE-SECRET-KEY-1"):
        read_share_file(path, Unlock(["junk"]), SUITES)
    for position in (0, 30, len(data) // 2, len(data) - 1):
        with pytest.raises(ShareFileError):
            parse(
                data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :], Unlock([str(keys[0])])
            )


def test_encrypted_with_a_password(tmp_path):
    path = tmp_path / "shares.age"
    write_share_file(path, [entry()], password="correct horse")
    assert b"key_share" not in path.read_bytes()
    assert read_share_file(path, Unlock(password="correct horse"), SUITES)["a"].share == entry().share
    with pytest.raises(ShareFileLocked, match="wrong password"):
        read_share_file(path, Unlock(password="incorrect horse"), SUITES)
    with pytest.raises(ShareFileLocked, match="give its password"):
        read_share_file(path, Unlock([str(pyrage.x25519.Identity.generate())]), SUITES)


def test_armoured_files_are_recognised():
    key = pyrage.x25519.Identity.generate()
    data = pyrage.encrypt(encode_share_file([entry()]), [key.to_public()], armored=True)
    assert is_encrypted(data)
    assert parse(data, Unlock([str(key)]))["a"].share == entry().share
    assert decrypt(encrypt(b"x", recipients=[str(key.to_public())]), "f", Unlock([str(key)])) == b"x"


def test_identity_files(tmp_path):
    key = str(pyrage.x25519.Identity.generate())
    create_private(tmp_path / "key.txt", f"# created: today\n# public key: age1...\n{key}\n\n".encode())
    assert read_age_identities(tmp_path / "key.txt") == [key]


def test_repr_hides_what_opens_a_file():
    assert "secret" not in repr(Unlock(["AGE-SECRET-KEY-1secret"], "secret")).lower()


def test_a_share_has_its_place():
    committee = committee_of()
    for index, keys in enumerate(node_keys()):
        entry(party=index).check_place(committee, keys.identity)
    with pytest.raises(ShareMisplaced, match="party index 1, but this node has index 0"):
        entry(party=1).check_place(committee, node_keys()[0].identity)
    small = ShareEntry("a", deal(TINY, 2, 2)[0], None, foreign=True)
    with pytest.raises(ShareMisplaced, match="for 2 parties"):
        small.check_place(committee, node_keys()[0].identity)


@pytest.mark.attack("C3")
def test_a_foreign_share_with_other_points_is_sound_but_misplaced():
    share = deal(TINY, 2, 4)[1]
    value = json.loads(encode_share_file([ShareEntry("a", share, None, foreign=False)]))
    core = value["a"]["key_share"]
    for items in (core["public_shares"], core["vss_setup"]["I"]):
        items.pop(0)
    core["i"] = 0
    found = parse(value)["a"]
    assert found.share.indices == [2, 3, 4]
    with pytest.raises(ShareMisplaced, match=r"points \[2, 3, 4\]"):
        found.check_place(committee_of(), node_keys()[0].identity)


def test_points_in_another_order_are_the_same_share():
    value = json.loads(encode_share_file([entry(aux=False)]))
    expected = parse(copy.deepcopy(value))["a"].share
    core = value["a"]["key_share"]
    for items in (core["public_shares"], core["vss_setup"]["I"]):
        items.reverse()
    core["i"] = 2
    assert parse(value)["a"].share == expected


def test_import_into_a_store(tmp_path):
    store = new_store(tmp_path)
    found = parse({PATH_ID: foreign(suite=SMALL_SECP)})[PATH_ID]
    found.check_place(committee_of(), node_keys()[0].identity)
    store.accounts.add(NewShare.of(PATH_ID, found.share), committee_of().committee_id, Origin.IMPORT)
    assert store.accounts.account(PATH_ID).aux_id is None
    assert store.check() == []


@pytest.mark.parametrize("n", [2, 16])
def test_the_smallest_and_the_largest_committee(n):
    for share in deal(TINY, n, n):
        found = parse(encode_share_file([ShareEntry("a", share, None, foreign=False)]))["a"]
        assert found.share == share


def test_an_entry_without_public_key_and_pedersen_secret():
    value = json.loads(encode_share_file([entry()]))
    del value["a"]["public_key"]
    value["a"]["aux_v2"]["pedersen"] = None
    found = parse(value)["a"]
    assert found.share == entry().share
    assert found.aux.pedersen is None
    assert found.aux.paillier.p == entry().aux.paillier.p
    again = json.loads(encode_share_file([found]))["a"]
    assert (again["aux_v2"], again["key_share"]) == (value["a"]["aux_v2"], value["a"]["key_share"])


def test_ids_of_foreign_shares():
    """Two nodes of different releases have to derive the same ids: this is how they are made."""
    share = deal(SMALL_SECP)[0]
    value = foreign(suite=SMALL_SECP)
    proto, public = SMALL_SECP.proto, [[i, share.public_shares[i]] for i in (1, 2, 3)]
    record = [share.X, hash_commit(proto, "c-hash", share.X, share.chain_code), 2, public]
    expected = [hash_commit(proto, domain, *record) for domain in ("imported-key", "imported-epoch")]
    core = copy.deepcopy(value["core"])
    for items in (core["public_shares"], core["vss_setup"]["I"]):
        items.reverse()
    core["i"] = 2
    for shown in (value, {"core": core}):
        found = parse({"a": shown})["a"].share
        assert [found.key_id, found.share_epoch] == expected


def test_a_file_of_exactly_the_largest_size(tmp_path, monkeypatch):
    data = encode_share_file([entry()])
    monkeypatch.setattr("participant.sharefile.MAX_SHARE_FILE", len(data))
    assert parse(data)["a"].share == entry().share
    path = tmp_path / "shares.json"
    for extra, sound in ((b"", True), (b" ", False), (b"  ", False)):
        path.unlink(missing_ok=True)
        create_private(path, data + extra)
        if sound:
            assert "a" in read_share_file(path, suites=SUITES)
        else:
            with pytest.raises(ShareFileDamaged, match=f"{path} is damaged: it is longer"):
                read_share_file(path, suites=SUITES)


def test_ten_accounts_are_named():
    names = [f"{k:02}" for k in range(12)]
    entries = dict.fromkeys(reversed(names), entry())
    with pytest.raises(KeyShareNotFound) as raised:
        find_entry(entries, "c", "shares.json")
    assert str(raised.value).endswith("its accounts: " + ", ".join(map(repr, names[:10])))


def test_files_are_for_people_too():
    data = encode_share_file([entry("\N{GREEK SMALL LETTER ALPHA}")])
    assert data.startswith('{\n  "\N{GREEK SMALL LETTER ALPHA}": {\n    "public_key": "'.encode())
    assert data.endswith(b"  }\n}\n")
