"""Key sets and tokens without a server: every check by itself, at given times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from token_testing import Minter, base64url, forged, key_set, write_key_set

from gateway import tokens as tokens_module
from gateway.key_set import MAX_FILE_BYTES, MAX_KEYS, BadKeySet, KeyFile, open_key_set, parse_key_set
from gateway.tokens import ISSUE, POST, SUBSCRIBE, Grant, TokenRefused, Verifier
from kit.settings import SettingsError

ED, EC = Minter("ed"), Minter("ec", "ES256")
NOW = 1_800_000_000


def parsed(*entries: Any) -> Any:
    return parse_key_set(json.dumps({"keys": list(entries)}).encode())


# Key sets


def test_what_a_key_set_may_hold() -> None:
    bare = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64url(ED.raw),
        "kid": "~ !",
        "x5t": "unknown members count for nothing",
    }
    assert len(parsed(ED.jwk(kid="k" * 128))) == 1
    keys = parsed(ED.jwk(), EC.jwk(key_ops=["verify"]), bare)
    assert [(key.kid, key.algorithm, key.number) for key in keys.values()] == [
        ("ed", "EdDSA", ED.raw), ("ec", "ES256", EC.raw), ("~ !", "EdDSA", ED.raw),
    ]  # fmt: skip
    assert keys["ec"].public().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:] == EC.raw


P = 2**255 - 19
Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def small(y: int, sign: int = 0) -> str:
    return base64url((y | sign << 255).to_bytes(32, "little"))


OFF_CURVE = (int.from_bytes(EC.raw[32:]) ^ 1).to_bytes(32)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no kid": (ED.jwk(kid=None), "its kid is not"),
    "empty kid": (ED.jwk(kid=""), "its kid is not"),
    "long kid": (ED.jwk(kid="k" * 129), "its kid is not"),
    "kid of other letters": (ED.jwk(kid="ключ"), "its kid is not"),
    "kid with a line": (ED.jwk(kid="a\nb"), "its kid is not"),
    "kid a number": (ED.jwk(kid=1), "its kid is not"),
    "private": (ED.jwk(d="AA"), "PRIVATE"),
    "private RSA": ({"kty": "RSA", "kid": "a", "d": "AA"}, "PRIVATE"),
    "symmetric": ({"kty": "oct", "kid": "a", "k": "AA"}, "PRIVATE"),
    "RSA": ({"kty": "RSA", "kid": "a", "n": "AA", "e": "AQAB"}, "kty and crv are 'RSA' and None"),
    "X25519": (ED.jwk(crv="X25519"), "kty and crv are 'OKP' and 'X25519'"),
    "Ed448": (ED.jwk(crv="Ed448"), "kty and crv are"),
    "secp256k1": (EC.jwk(crv="secp256k1"), "kty and crv are"),
    "P-256 of the wrong kind": (ED.jwk(crv="P-256"), "kty and crv are"),
    "alg of another": (ED.jwk(alg="ES256"), "its alg is 'ES256', but such a key is for EdDSA"),
    "alg HS256": (ED.jwk(alg="HS256"), "its alg is 'HS256'"),
    "alg none": (EC.jwk(alg="none"), "its alg is 'none'"),
    "for encryption": (ED.jwk(use="enc"), "its use is not sig"),
    "to sign": (ED.jwk(key_ops=["sign"]), "its key_ops"),
    "operations a word": (ED.jwk(key_ops="verify"), "its key_ops"),
    "no x": (ED.jwk(x=None), "its x is not 32 bytes"),
    "short x": (ED.jwk(x=base64url(ED.raw[:31])), "its x is not 32 bytes"),
    "long x": (ED.jwk(x=base64url(ED.raw + b"0")), "its x is not 32 bytes"),
    "padded x": (ED.jwk(x=base64url(ED.raw) + "="), "its x is not 32 bytes"),
    "other letters in x": (ED.jwk(x="ä" * 43), "its x is not 32 bytes"),
    "x in other base64": (ED.jwk(x="+" * 42 + "A"), "its x is not 32 bytes"),
    "no y": (EC.jwk(y=None), "its y is not 32 bytes"),
    "not on the curve": (EC.jwk(y=base64url(OFF_CURVE)), "key 0: "),
    "order 1": (ED.jwk(x=small(1)), "small order"),
    "order 2": (ED.jwk(x=small(P - 1)), "small order"),
    "order 4": (ED.jwk(x=small(0)), "small order"),
    "order 4, other sign": (ED.jwk(x=small(0, 1)), "small order"),
    "order 8": (ED.jwk(x=small(Y8)), "small order"),
    "order 8, the other": (ED.jwk(x=small(P - Y8, 1)), "small order"),
    "order 1, not reduced": (ED.jwk(x=small(P + 1)), "small order"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_key_that_cannot_be_used_makes_the_set_unusable(name: str) -> None:
    entry, says = WRONG[name]
    with pytest.raises(BadKeySet, match=f"key 0: .*{says}|{says}"):
        parsed(entry)
    with pytest.raises(BadKeySet, match="key 1: "):
        parsed(EC.jwk(kid="good"), entry)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 5_000, "no JSON"),
        (b"[]", "no JWK Set"),
        (b"{}", "no JWK Set"),
        (b'{"keys": {}}', "no JWK Set"),
        (b'{"keys": []}', "0 keys"),
        (b'{"keys": [1]}', "key 0: it is no JSON object"),
        (b'{"keys": [], "keys": []}', "stands twice"),
        (b" " * MAX_FILE_BYTES + b"{}", "larger than"),
        (b'{"keys": [' + b"1," * MAX_KEYS + b"1]}", f"{MAX_KEYS + 1} keys"),
        (json.dumps(key_set([ED, EC, Minter("other", kid="ed")])).encode(), "key 2: kid 'ed' stands twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_key_set(data: bytes, says: str) -> None:
    with pytest.raises(BadKeySet, match=says):
        parse_key_set(data)


def test_the_largest_key_set() -> None:
    entries = [ED.jwk(kid=str(number)) for number in range(MAX_KEYS)]
    assert len(parsed(*entries)) == 10_000
    data = json.dumps({"keys": [ED.jwk()]}).encode()
    assert len(parse_key_set(data + b" " * (4 * 1024 * 1024 - len(data)))) == 1


def test_a_file_of_the_settings(tmp_path: Path) -> None:
    assert open_key_set(None) is None
    path = write_key_set(tmp_path / "keys", ED)
    file = open_key_set(path)
    assert file is not None
    assert set(file.keys) == {"ed"}
    path.write_text("[]")
    with pytest.raises(SettingsError, match=r"/keys: access\.key_set: it is no JWK Set"):
        open_key_set(path)
    with pytest.raises(SettingsError, match=r"none\.json: access\.key_set: it cannot be read: No such file"):
        open_key_set(tmp_path / "none.json")


def test_a_file_is_read_again_when_it_changes_and_told_of(tmp_path: Path) -> None:
    path = write_key_set(tmp_path / "keys", ED)
    file = KeyFile(path)
    told: list[int] = []
    file.on_change = lambda: told.append(len(file.keys))
    file.look()
    assert told == []
    write_key_set(path, ED, EC)
    file.look()
    file.look()
    assert told == [2]
    # The same content in another file is no change, but it is read when asked for.
    write_key_set(path, ED, EC)
    file.look()
    assert file.reload()
    assert told == [2]
    path.write_text("junk")
    file.look()
    assert (file.problem is not None, set(file.keys)) == (True, {"ed", "ec"})
    path.unlink()
    file.look()
    assert "No such file" in str(file.problem)
    assert not file.reload()
    write_key_set(path, EC)
    file.look()
    assert (told, file.problem, set(file.keys)) == ([2, 1], None, {"ec"})


# Tokens


class Clock:
    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


LEEWAY, LONGEST = 30, 900
KEYS = parse_key_set(json.dumps(key_set([ED, EC])).encode())


def check(token: str, *, clock: Clock | None = None, room: str = "room", right: str = POST) -> Grant:
    return Verifier(LONGEST, LEEWAY, clock or Clock()).check(token, KEYS, room, right)


def reason(token: str, says: str = ".", **about: Any) -> str:
    with pytest.raises(TokenRefused, match=says) as refused:
        check(token, **about)
    assert refused.value.status == (403 if refused.value.reason in ("wrong_room", "missing_right") else 401)
    return refused.value.reason


@pytest.mark.parametrize("minter", [ED, EC])
def test_a_token_is_good_from_nbf_to_exp_and_the_leeway_around(minter: Minter) -> None:
    token, clock = minter.token(now=NOW, life=600), Clock()
    for now in (NOW - LEEWAY, NOW, NOW + 600 + LEEWAY - 0.01):
        clock.now = now
        assert check(token, clock=clock).key.kid == minter.kid
    clock.now = NOW - LEEWAY - 0.01
    assert reason(token, clock=clock, says="valid in 30 s") == "token_not_yet_valid"
    clock.now = NOW + 600 + LEEWAY
    assert reason(token, clock=clock, says="expired 30 s ago") == "token_expired"


def test_a_token_that_was_good_is_judged_anew_each_time() -> None:
    clock = Clock()
    verifier = Verifier(LONGEST, LEEWAY, clock)
    token = ED.token(now=NOW, scope="post")

    def refused(keys: Any, room: str, right: str) -> str:
        with pytest.raises(TokenRefused) as error:
            verifier.check(token, keys, room, right)
        return error.value.reason

    verifier.check(token, KEYS, "room", POST)
    assert refused(KEYS, "other", POST) == "wrong_room"
    assert refused(KEYS, "room", SUBSCRIBE) == "missing_right"
    assert refused(parsed(EC.jwk()), "room", POST) == "unknown_key"
    assert refused(parsed(Minter("other").jwk(kid="ed")), "room", POST) == "bad_signature"
    assert refused(parsed(EC.jwk(kid="ed")), "room", POST) == "wrong_algorithm"
    clock.now = NOW + 200 + LEEWAY
    assert refused(KEYS, "room", POST) == "token_expired"
    clock.now = NOW
    assert verifier.seconds_left(verifier.check(token, KEYS, "room", POST)) == 200 + LEEWAY


def test_a_token_that_was_good_costs_no_signature_check(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(LONGEST, LEEWAY, Clock())
    checked: list[str] = []
    whole = verifier._jws.decode
    monkeypatch.setattr(
        verifier._jws, "decode", lambda token, *a, **k: checked.append(token) or whole(token, *a, **k)
    )
    first, second = ED.token(now=NOW), ED.token(now=NOW, life=601)
    for token in (first, first, second, first):
        verifier.check(token, KEYS, "room", POST)
    assert checked == [first, second]


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "MAX_CACHED", 3)
    verifier = Verifier(LONGEST, LEEWAY, Clock())
    for number in range(5):
        verifier.check(ED.token(f"room{number}", now=NOW), KEYS, f"room{number}", POST)
    assert [grant.room for grant in verifier._known.values()] == ["room2", "room3", "room4"]


def test_the_longest_life() -> None:
    assert check(ED.token(now=NOW, life=LONGEST)).expires == NOW + LONGEST
    assert reason(ED.token(now=NOW, life=LONGEST + 1)) == "token_too_long_lived"
    # Nor by a beginning in the past.
    assert reason(ED.token(now=NOW - 800, life=LONGEST + 1)) == "token_too_long_lived"
    assert check(ED.token(now=NOW, life=1)).expires == NOW + 1
    assert reason(ED.token(now=NOW, life=0)) == "token_too_long_lived"


@pytest.mark.parametrize("claim", ["nbf", "exp"])
@pytest.mark.parametrize(
    "value", ["1800000000", True, [], -1, 10**13, 10**400, float("nan"), float("inf"), {}], ids=str
)
def test_times_are_numbers(claim: str, value: Any) -> None:
    assert reason(ED.token(now=NOW, **{claim: value})) == "bad_token"


def test_the_first_and_the_last_second() -> None:
    clock, last = Clock(), 10**12
    clock.now = 0
    assert check(ED.token(now=0), clock=clock).not_before == 0
    clock.now = last - 200
    assert check(ED.token(now=last - 200), clock=clock).expires == last
    assert reason(ED.token(now=last - 200, life=201), clock=clock) == "bad_token"


def test_fractions_of_seconds_are_numbers_too() -> None:
    assert check(ED.token(now=NOW, nbf=NOW + 0.5)).not_before == NOW + 0.5


@pytest.mark.parametrize("room", [["room"], 1, {}, True], ids=str)
def test_the_room_is_one_text(room: Any) -> None:
    assert reason(ED.token(room, now=NOW)) == "bad_token"


def test_rooms_are_compared_whole() -> None:
    for room in ("Room", "room ", "roo", "rooms", "", "*"):
        assert reason(ED.token(room, now=NOW)) == "wrong_room"
    long = "ä" * 128
    assert check(ED.token(long, now=NOW), room=long).room == long


@pytest.mark.parametrize("scope", [["post"], 1, {}], ids=str)
def test_the_scope_is_one_text(scope: Any) -> None:
    assert reason(ED.token(scope=scope, now=NOW)) == "bad_token"


def test_the_names_of_rights() -> None:
    rights = check(ED.token(scope="subscribe post issue_unique_idx", now=NOW)).rights
    assert rights == {"subscribe", "post", "issue_unique_idx"} == {SUBSCRIBE, POST, ISSUE}


def test_the_longest_token() -> None:
    def padded(head: int, body: int) -> str:
        return ED.token(now=NOW, header={"pad": "x" * head}, pad="x" * body)

    body = (4096 - len(padded(0, 0))) * 3 // 4
    # Base64 without padding has no text of 1, 5, 9 ... letters.
    longest = next(token for k in range(12) if len(token := padded(k % 4, body - k // 4)) == 4096)
    check(longest)
    assert reason(longest + "A", says="longer than 4096") == "bad_token"
    assert reason(padded(0, body + 3), says="longer than 4096") == "bad_token"


@pytest.mark.parametrize(
    "header",
    [{"b64": True}, {"b64": True, "crit": ["b64"]}, {"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"]}],
    ids=str,
)
def test_extensions_are_not_understood(header: dict[str, Any]) -> None:
    now = {"aud": "room", "scope": "post", "nbf": NOW, "exp": NOW + 60}
    start = forged({"alg": "EdDSA", "kid": "ed"} | header, now).rpartition(".")[0]
    assert reason(f"{start}.{base64url(ED.private.sign(start.encode()))}") == "bad_token"


def test_rights_are_whole_words() -> None:
    token = ED.token(scope="post read:everything subscribe_", now=NOW)
    assert check(token).rights == {POST}
    assert [reason(token, right=right) for right in (SUBSCRIBE, ISSUE)] == ["missing_right"] * 2
    for scope in ("", "POST", "post,subscribe", "posts", "pos", "post\tsubscribe"):
        assert reason(ED.token(scope=scope, now=NOW)) == "missing_right"


def test_a_damaged_token_opens_nothing() -> None:
    token = ED.token(now=NOW)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at in range(0, len(token), 7):
        other = alphabet[(alphabet.find(token[at]) + 1) % 64]
        with pytest.raises(TokenRefused):
            check(token[:at] + other + token[at + 1 :])
    for other in (token[:-1], token + "A", token[1:], token + ".", "." + token, token.replace(".", "..")):
        with pytest.raises(TokenRefused):
            check(other)


def test_payloads_that_are_no_claims() -> None:
    for payload in (b"[]", b"1", b"", b"\xff", b"[" * 2000, b'{"aud"'):
        head = base64url(json.dumps({"alg": "EdDSA", "kid": "ed"}).encode())
        start = f"{head}.{base64url(payload)}"
        assert reason(f"{start}.{base64url(ED.private.sign(start.encode()))}") == "bad_token"


@pytest.mark.attack("E5")
def test_the_key_set_decides_the_algorithm_for_every_pair() -> None:
    for signer in (ED, EC):
        for kid in ("ed", "ec"):
            token = Minter(signer.kid, signer.algorithm, kid).token(now=NOW)
            if signer.kid == kid:
                assert check(token).key.kid == kid
            else:
                assert reason(token) == "wrong_algorithm"
