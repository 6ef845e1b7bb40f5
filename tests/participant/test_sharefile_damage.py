import json

import pytest
from node_testing import deal
from sharefile_testing import entry, foreign, parse
from tss_testing import TINY

from participant.errors import NodeError
from participant.sharefile import ShareFileDamaged, encode_share_file


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
    "not JSON": (b"{", r"json is damaged: the file is not JSON"),
    "not UTF-8": (b"\xff\xff", "not UTF-8"),
    "a list": ([], "not an object of account id"),
    "a number": (b"5", "not an object of account id"),
    "deep": (b"[" * 100_000, "nested"),
    "a float": (b'{"a": 1.5}', "not an integer"),
    "a huge number": (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    "account twice": (b'{"a": {}, "a": {}}', "'a' stands twice"),
    "key twice": (b'{"a": {"core": {"x": 1, "x": 2}}}', "'x' stands twice"),
    "a value that no key is like": (b'{"a": Infinity}', "not an integer"),
    "an account id with NUL": ({"a\x00": foreign()}, "an account id is"),
    "empty account id": ({"": foreign()}, "an account id is"),
    "an entry that is no object": ({"a": "share"}, "neither core nor key_share"),
    "an entry that is a number": ({"a": 5}, "neither core nor key_share"),
    "an entry that is a list": ({"a": ["core"]}, "neither core nor key_share"),
    "a core that is a list": ({"a": {"core": sorted(foreign()["core"])}}, "exactly the keys"),
    "a core that is a number": ({"a": {"core": 5}}, "exactly the keys"),
    "an empty entry": ({"a": {}}, "neither core nor key_share"),
    "both shapes": (_ours(core={}), "or both"),
    "a core that is no object": ({"a": {"core": "..."}}, "exactly the keys"),
    "a core with a key too many": (_core(extra=1), "exactly the keys"),
    "unknown curve": (_core(curve="secp256r1"), "unknown curve 'secp256r1'; known: secp256k1, toy32"),
    "a core with a key too few": (
        _ours(key_share={}),
        "exactly the keys chain_code, curve, i, public_shares, ",
    ),
    "curve of another type": (_core(curve=[1]), "unknown curve"),
    "public_key of another key": (
        _ours(public_key=OTHER[0].X.to_bytes().hex()),
        "public_key is not the shared",
    ),
    "key_id too short": (_ours(key_id="00"), "key_id is not 64"),
    "key_id too long": (_ours(key_id="00" * 33), "key_id is not 64"),
    "key_id no text": (_ours(key_id=None), "key_id is not 64"),
    "share_epoch too long": (_ours(share_epoch="00" * 33), "share_epoch is not 64"),
    "share_epoch missing": (_ours(share_epoch=None), "share_epoch is not 64"),
    "x of another party": (_core(x=f"{SHARES[1].x:08x}"), "secret share does not match"),
    "x too long": (_core(x=f"{SHARES[0].x:010x}"), "x is not 8"),
    "x in upper case": (_core(x="ABCDEFAB"), "x is not 8 lower-case"),
    "x is not reduced": (_core(x="ffffffff"), "not below the group order"),
    "x zero": (_core(x="00000000"), "out of range"),
    "i of another party": (_core(i=1), "secret share does not match"),
    "i out of range": (_core(i=3), "no place among 3 parties"),
    "i of a seventeenth party": (_core(i=16), "i = 16 is no place among 3 parties"),
    "i too large": (_core(i=17), "i is not a number from 0 to 16"),
    "i negative": (_core(i=-1), "not a number from 0"),
    "i a boolean": (_core(i=True), "not a number from 0"),
    "i a text": (_core(i="0"), "not a number from 0"),
    "public key of another key": (
        _core(shared_public_key=OTHER[0].X.to_bytes().hex()),
        "public_key is not the shared",
    ),
    "public key off the curve": (_core(shared_public_key="02" + "ff" * 4), "toy curve"),
    "public key of another length": (_core(shared_public_key="02"), "shared_public_key is not 10"),
    "chain code too long": (_core(chain_code="00" * 33), "chain_code is not 64"),
    "chain code missing": (_core(chain_code=None), "chain_code is not 64"),
    "additive shares": (_core(vss_setup=None), "additive"),
    "vss_setup with other keys": (_setup(J=1), "vss_setup is not"),
    "vss_setup with a key too few": (_core(vss_setup={"I": []}), "exactly the keys I, min_signers"),
    "vss_setup no object": (_core(vss_setup=["I", "min_signers"]), "vss_setup is not"),
    "threshold 0": (_setup(min_signers=0), "threshold 0 of 3"),
    "threshold 1": (_setup(min_signers=1), "threshold 1 of 3"),
    "threshold 3": (_setup(min_signers=3), "fewer than 3 shares"),
    "threshold 4": (_setup(min_signers=4), "threshold 4 of 3"),
    "threshold 16": (_setup(min_signers=16), "threshold 16 of 3"),
    "threshold 17": (_setup(min_signers=17), "min_signers is not a number from 0 to 16"),
    "an index twice": (_setup(I=["00000001", "00000001", "00000003"]), "evaluation points repeat"),
    "an index zero": (_setup(I=["00000000", "00000002", "00000003"]), "an evaluation point is zero$"),
    "an index of q": (_setup(I=["00000001", "00000002", f"{TINY.group.q:08x}"]), "not below the group order"),
    "indices exchanged": (_setup(I=["00000001", "00000003", "00000002"]), "do not interpolate"),
    "fewer indices": (_setup(I=["00000001", "00000002"]), "not as many as the public shares"),
    "an index no text": (_setup(I=[1, 2, 3]), "an evaluation point is not 8"),
    "indices no list": (_setup(I="123"), "I is not a list"),
    "seventeen indices": (_setup(I=[f"{i:08x}" for i in range(1, 18)]), "2 to 16 items"),
    "public shares exchanged": (_public_shares(lambda p: p.reverse()), "does not match its public share"),
    "a public share of another key": (_public_shares(lambda p: p.__setitem__(2, G)), "interpolate"),
    "a public share missing": (_public_shares(lambda p: p.pop()), "not as many"),
    "public shares no list": (_core(public_shares={"0": G, "1": G, "2": G}), "public_shares is not a list"),
    "a public share no text": (_public_shares(lambda p: p.__setitem__(2, 5)), "a public share is not 10"),
    "one public share": (_public_shares(lambda p: p.__delitem__(slice(1, 3))), "public_shares is not a list"),
    "aux no object": (_ours(aux_v2=5), "aux_v2 is not an object"),
    "aux a list": (_ours(aux_v2=["aux_id", "p", "q", "pedersen", "parties"]), "aux_v2 is not an object"),
    "aux with a key too many": (_aux(_set("extra", 1)), "aux_v2 is not an object"),
    "aux with a party too few": (_aux(lambda a: a["parties"].pop()), "has not 3 parties"),
    "aux with a party too many": (_aux(lambda a: a["parties"].append(a["parties"][0])), "has not 3 parties"),
    "aux parties no list": (_aux(_set("parties", {"0": {}, "1": {}, "2": {}})), "has not 3 parties"),
    "aux party no object": (
        _aux(lambda a: a["parties"].__setitem__(1, ["N", "N_hat", "s", "t"])),
        "a party of aux",
    ),
    "aux party with a number too long": (
        _aux(lambda a: a["parties"][1].update(N_hat="f" * 81)),
        "N_hat is not a number of at most 320 bits",
    ),
    "aux parties exchanged": (_aux(lambda a: a["parties"].reverse()), "Paillier primes do not give"),
    "aux party with other keys": (
        _aux(lambda a: a["parties"][1].pop("s")),
        "exactly the keys N, N_hat, s, t",
    ),
    "aux of other primes": (_aux(_set("p", "5")), "Paillier primes do not give"),
    "aux with p = q": (_aux(lambda a: a.update(p=a["q"])), "not odd and distinct"),
    "aux with an even prime": (_aux(_set("p", "4")), "not odd and distinct"),
    "aux q zero": (_aux(_set("q", "0")), "q is not a number"),
    "aux prime empty": (_aux(_set("p", "")), "p is not a number"),
    "aux prime with other digits": (_aux(_set("p", "5!")), "p is not a number"),
    "aux prime in upper case": (_aux(_set("p", "A")), "p is not a number"),
    "aux prime zero": (_aux(_set("p", "0")), "p is not a number"),
    "aux prime negative": (_aux(_set("p", "-5")), "p is not a number"),
    "aux prime with a leading zero": (_aux(lambda a: a.update(p="0" + a["p"])), "p is not a number"),
    "aux prime too long": (_aux(_set("p", "f" * 81)), "p is not a number of at most 320 bits"),
    "aux prime no text": (_aux(_set("p", 7)), "p is not a number"),
    "aux pedersen with other keys": (_aux(_set("pedersen", {"p": "1"})), "pedersen of aux_v2"),
    "aux pedersen no object": (_aux(_set("pedersen", ["p", "q", "lam"])), "pedersen of aux_v2"),
    "aux pedersen lambda too long": (
        _aux(lambda a: a["pedersen"].update(lam="f" * 81)),
        "pedersen lam is not a number of at most 320 bits",
    ),
    "aux pedersen with a zero": (_aux(lambda a: a["pedersen"].update(q="0")), "pedersen q is not a number"),
    "aux primes where one divides the other less 1": (
        _aux(lambda a: a.update(p="3", q="7")),
        r"gcd\(N, phi\) is not 1",
    ),
    "aux lambda of another": (
        _aux(lambda a: a["pedersen"].update(lam="5")),
        "ring-Pedersen secrets do not give",
    ),
    "aux s = 1": (_aux(lambda a: a["parties"][1].update(s="1")), "trivial"),
    "aux id too long": (_aux(_set("aux_id", "00" * 33)), "aux_id is not 64"),
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
