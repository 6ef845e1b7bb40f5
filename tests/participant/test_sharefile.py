import copy
import json
import stat

import pyrage
import pytest
from node_testing import aux_sets, committee_of, deal, new_store, node_keys
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
from participant.errors import NodeError
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

SUITES = {"toy32": TINY, "secp256k1": SMALL_SECP}
PATH_ID = "m/44'/60'/0'/0/0"


def entry(account_id="a", seed=0, party=0, suite=TINY, *, aux=True):
    return ShareEntry(
        account_id, deal(suite, seed=seed)[party], aux_sets(suite)[party] if aux else None, foreign=False
    )


def foreign(party=0, t=2, n=3, suite=CGGMP24_SECP256K1):
    """A share as wallet-mpc's key-gen writes it, built from its description and not by our encoder."""
    share = deal(suite, t, n)[party]
    number = {"radix": 16, "value": "ab"}
    return {
        "core": {
            "curve": "secp256k1",
            "i": party,
            "shared_public_key": share.X.to_bytes().hex(),
            "public_shares": [share.public_shares[i].to_bytes().hex() for i in range(1, n + 1)],
            "vss_setup": {"min_signers": t, "I": [f"{i:064x}" for i in range(1, n + 1)]},
            "chain_code": share.chain_code.hex(),
            "x": f"{share.x:064x}",
        },
        "aux": {"p": number, "q": number, "parties": [{"N": number, "s": number, "t": number}] * n},
    }


def parse(content, unlock=None, suites=SUITES):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parse_share_file(data, "shares.json", unlock, suites)


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


def _ours(**change):
    value = json.loads(encode_share_file([entry()]))["a"]
    return {"a": value | change}


def _core(**change):
    value = json.loads(encode_share_file([entry()]))["a"]
    value["key_share"] |= change
    return {"a": value}


def _aux(change):
    value = json.loads(encode_share_file([entry()]))
    change(value["a"]["aux_v2"])
    return value


def _setup(**change):
    value = json.loads(encode_share_file([entry()]))
    value["a"]["key_share"]["vss_setup"] |= change
    return value


def _public_shares(change):
    value = json.loads(encode_share_file([entry()]))
    change(value["a"]["key_share"]["public_shares"])
    return value


def _set(name, value):
    def change(aux):
        aux[name] = value

    return change


SHARES = deal()
OTHER = deal(seed=9)
G = TINY.group.G.to_bytes().hex()

DAMAGED = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b"\xff\xff", "not UTF-8"),
    "a list": ([], "not an object of account id"),
    "a number": (b"5", "not an object of account id"),
    "deep": (b"[" * 100_000, "nested"),
    "a float": (b'{"a": 1.5}', "not an integer"),
    "a huge number": (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    "account twice": (b'{"a": {}, "a": {}}', "'a' stands twice"),
    "key twice": (b'{"a": {"core": {"x": 1, "x": 2}}}', "'x' stands twice"),
    "empty account id": ({"": foreign()}, "an account id is"),
    "an entry that is no object": ({"a": "share"}, "neither core nor key_share"),
    "an empty entry": ({"a": {}}, "neither core nor key_share"),
    "both shapes": (_ours(core={}), "or both"),
    "a core that is no object": ({"a": {"core": "..."}}, "exactly the keys"),
    "a core with a key too many": (_core(extra=1), "exactly the keys"),
    "unknown curve": (_core(curve="secp256r1"), "unknown curve 'secp256r1'; known: secp256k1, toy32"),
    "curve of another type": (_core(curve=[1]), "unknown curve"),
    "public_key of another key": (
        _ours(public_key=OTHER[0].X.to_bytes().hex()),
        "public_key is not the shared",
    ),
    "key_id too short": (_ours(key_id="00"), "key_id is not 64"),
    "share_epoch missing": (_ours(share_epoch=None), "share_epoch is not 64"),
    "x of another party": (_core(x=f"{SHARES[1].x:08x}"), "secret share does not match"),
    "x too long": (_core(x=f"{SHARES[0].x:010x}"), "x is not 8"),
    "x in upper case": (_core(x="ABCDEFAB"), "x is not 8 lower-case"),
    "x is not reduced": (_core(x="ffffffff"), "not below the group order"),
    "x zero": (_core(x="00000000"), "out of range"),
    "i of another party": (_core(i=1), "secret share does not match"),
    "i out of range": (_core(i=3), "no place among 3 parties"),
    "i negative": (_core(i=-1), "not a number from 0"),
    "i a boolean": (_core(i=True), "not a number from 0"),
    "i a text": (_core(i="0"), "not a number from 0"),
    "public key of another key": (
        _core(shared_public_key=OTHER[0].X.to_bytes().hex()),
        "public_key is not the shared",
    ),
    "public key off the curve": (_core(shared_public_key="02" + "ff" * 4), "toy curve"),
    "public key of another length": (_core(shared_public_key="02"), "shared_public_key is not 10"),
    "chain code missing": (_core(chain_code=None), "chain_code is not 64"),
    "additive shares": (_core(vss_setup=None), "additive"),
    "vss_setup with other keys": (_setup(J=1), "vss_setup is not"),
    "threshold 1": (_setup(min_signers=1), "threshold 1 of 3"),
    "threshold 3": (_setup(min_signers=3), "fewer than 3 shares"),
    "threshold 4": (_setup(min_signers=4), "threshold 4 of 3"),
    "threshold 17": (_setup(min_signers=17), "not a number from 0 to 16"),
    "an index twice": (_setup(I=["00000001", "00000001", "00000003"]), "evaluation points repeat"),
    "an index zero": (_setup(I=["00000000", "00000002", "00000003"]), "an evaluation point is zero"),
    "an index of q": (_setup(I=["00000001", "00000002", f"{TINY.group.q:08x}"]), "not below the group order"),
    "indices exchanged": (_setup(I=["00000001", "00000003", "00000002"]), "do not interpolate"),
    "fewer indices": (_setup(I=["00000001", "00000002"]), "not as many as the public shares"),
    "indices no list": (_setup(I="123"), "I is not a list"),
    "seventeen indices": (_setup(I=[f"{i:08x}" for i in range(1, 18)]), "2 to 16 items"),
    "public shares exchanged": (_public_shares(lambda p: p.reverse()), "does not match its public share"),
    "a public share of another key": (_public_shares(lambda p: p.__setitem__(2, G)), "interpolate"),
    "a public share missing": (_public_shares(lambda p: p.pop()), "not as many"),
    "one public share": (_public_shares(lambda p: p.__delitem__(slice(1, 3))), "public_shares is not a list"),
    "aux no object": (_ours(aux_v2=5), "aux_v2 is not an object"),
    "aux with a key too many": (_aux(_set("extra", 1)), "aux_v2 is not an object"),
    "aux with a party too few": (_aux(lambda a: a["parties"].pop()), "has not 3 parties"),
    "aux parties exchanged": (_aux(lambda a: a["parties"].reverse()), "Paillier primes do not give"),
    "aux party with other keys": (
        _aux(lambda a: a["parties"][1].pop("s")),
        "exactly the keys N, N_hat, s, t",
    ),
    "aux of other primes": (_aux(_set("p", "5")), "Paillier primes do not give"),
    "aux with p = q": (_aux(lambda a: a.update(p=a["q"])), "not odd and distinct"),
    "aux with an even prime": (_aux(_set("p", "4")), "not odd and distinct"),
    "aux prime zero": (_aux(_set("p", "0")), "p is not a number"),
    "aux prime negative": (_aux(_set("p", "-5")), "p is not a number"),
    "aux prime with a leading zero": (_aux(lambda a: a.update(p="0" + a["p"])), "p is not a number"),
    "aux prime too long": (_aux(_set("p", "f" * 81)), "p is not a number of at most 320 bits"),
    "aux prime no text": (_aux(_set("p", 7)), "p is not a number"),
    "aux pedersen with other keys": (_aux(_set("pedersen", {"p": "1"})), "pedersen of aux_v2"),
    "aux lambda of another": (
        _aux(lambda a: a["pedersen"].update(lam="5")),
        "ring-Pedersen secrets do not give",
    ),
    "aux s = 1": (_aux(lambda a: a["parties"][1].update(s="1")), "trivial"),
    "aux id too short": (_aux(_set("aux_id", "00")), "aux_id is not 64"),
}


@pytest.mark.fault(8)
@pytest.mark.attack("E4")
@pytest.mark.attack("E7")
@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_files(what):
    content, expected = DAMAGED[what]
    with pytest.raises(ShareFileDamaged, match=r"shares\.json is damaged: ") as raised:
        parse(content)
    assert raised.match(expected)
    # A file has no peer to blame, and what is wrong is said without the secret.
    assert "a peer" not in str(raised.value)
    assert f"{SHARES[0].x:08x}" not in str(raised.value)


@pytest.mark.attack("E4")
def test_flipping_any_character_is_noticed_or_changes_nothing_that_counts():
    original = entry()
    data = encode_share_file([original])
    for position in range(0, len(data), 2):
        flipped = bytearray(data)
        flipped[position] ^= 1
        try:
            (found,) = parse(bytes(flipped)).values()
        except NodeError:
            continue
        # Ids, chain code and peers' numbers that stay in their domains are opaque; names of accounts are free text.
        same = (found.share.x, found.share.X, found.share.public_shares, found.share.t, found.share.me)
        mine = original.share
        assert same == (mine.x, mine.X, mine.public_shares, mine.t, mine.me), position


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
    with pytest.raises(KeyShareNotFound, match="none"):
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
