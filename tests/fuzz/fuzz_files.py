"""Targets: files of operators and callers' credentials."""

from __future__ import annotations

import atexit
import base64
import datetime as dt
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pyrage
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fuzz_mutate import damaged, mutated
from fuzz_payloads import JSON_WORDS, json_mutated
from fuzz_target import OK, Target, judged, need, reads_back, text_of, writes_back
from node_testing import SEAL_KEY, aux_sets, committee_of, deal, node_keys
from tss_testing import TINY, SeededRng

from gateway.settings import ENV_PREFIX, GatewaySettings
from keygen import dealer
from kit.certificate_names import BadCertificate, certificate_names
from kit.settings import SettingsError, load_settings
from participant import strict_yaml
from participant.age_files import ShareFileError, Unlock, decrypt
from participant.callers import (
    CallerAuth,
    CallerLimits,
    Tokens,
    Unauthenticated,
    hash_token,
)
from participant.committee import BadCommittee, Committee
from participant.files import SecretFileError
from participant.grpc_client import Target as Address
from participant.identity import BadCard, Card, NodeKeys
from participant.recover_request import RecoverRequest
from participant.reshare_request import BadRequest, ReshareRequest
from participant.sealing import (
    CHEAPEST_ONLY_FOR_TESTS,
    EnvelopeSealer,
    KeyFileWrapper,
    PasswordWrapper,
    SealBroken,
    SealError,
)
from participant.sharefile import ShareEntry, encode_share_file, parse_share_file
from participant.store.accounts import check_account_id
from participant.store.errors import StoreConflict
from sign_service.settings import ServiceSettings
from tss.params import CGGMP24_SECP256K1

SUITES = {"toy32": TINY, "secp256k1": CGGMP24_SECP256K1}

# -- YAML --------------------------------------------------------------------------------------------------------

YAML_WORDS = (
    b"!!int ", b"!!float ", b"!!bool ", b"!!timestamp ", b"!!binary ", b"!!set ", b"!!omap ", b"!!pairs ", b"!!str ", b"!!null ",
    b"!!python/object:os.system ", b"&a ", b"*a", b"<<: ", b"? ", b": ", b"- ", b"---\n", b"...\n", b"%YAML 1.1\n", b"|\n", b">-\n",
    b"2001-99-99", b"1:2:3", b"1:59:59.5", b"0x", b"0b", b".inf", b".nan", b"~", b"''", b'""', b'"\\x', b"[", b"]", b"{", b"}", b"\t",
    b"\xef\xbb\xbf", b"\xc2\x85", b"!<tag:yaml.org,2002:int> ",
)  # fmt: skip


def yaml_mutated(data: bytes, rng: Random) -> bytes:
    """A scalar replaced by an odd one, a line doubled, dropped or indented, or damage."""
    lines = data.split(b"\n")
    at, choice = rng.randrange(len(lines)), rng.randrange(7)
    if choice == 0:
        return b"\n".join(lines[: at + 1] + lines[at:])
    if choice == 1:
        return b"\n".join(lines[:at] + lines[at + 1 :])
    if choice == 2:
        return b"\n".join([*lines[:at], b"  " + lines[at], *lines[at + 1 :]])
    if choice in (3, 4):
        head, colon, _ = lines[at].partition(b": ")
        word = rng.choice(YAML_WORDS) + (rng.choice(YAML_WORDS) if choice == 4 else b"")
        return b"\n".join([*lines[:at], head + colon + word, *lines[at + 1 :]])
    if choice == 5:
        place = rng.randrange(len(data) + 1)
        return data[:place] + rng.choice(YAML_WORDS) + data[place:]
    return damaged(data, rng)


YAMLS = (
    b"a: 1\nb: [x, 2.5, null]\nc:\n  d: text\n", b"- !!int 5\n- 0x1f\n- 1:30\n- 2001-01-01\n- yes\n", b"? [a]\n: 1\n",
)  # fmt: skip


@lru_cache(maxsize=1)
def directory() -> Path:
    """In memory where the system has such a place."""
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only a place for it
    path = Path(tempfile.mkdtemp(prefix="fuzz-", dir=root))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def written(data: bytes, name: str) -> Path:
    path = directory() / name
    if not path.exists():
        path.touch(mode=0o600)
    path.write_bytes(data)
    return path


TOKENS = yaml.safe_dump(
    [{"name": "app", "sha256": hash_token("t").hex(), "accounts": ["a"]}, {"name": "b", "sha256": "ab" * 32}]
).encode()


def _settings(model: Any, prefix: str) -> Callable[[bytes], str]:
    """A file, and after a NUL byte one environment variable: KEY=VALUE."""

    def run(data: bytes) -> str:
        file, _, variable = data.partition(b"\0")
        name, _, value = text_of(variable).partition("=")
        environ = {f"{prefix}__{name}": value} if variable else {}
        try:
            load_settings(model, Path("/nowhere"), written(file, f"{prefix}.yaml"), prefix, environ=environ)
        except SettingsError as error:
            str(error).encode("utf-8", "surrogateescape")
            return "SettingsError"
        return OK

    return run


GATEWAY = (
    b"server:\n  host: 127.0.0.1\n  port: 0\n  cors_origins: ['*']\n  head_seconds: 1.5\nrooms:\n  max_rooms: 5\ngrpc: {port: 1}\n",
    b"logging: {level: info}\n\0SERVER__PORT=7", b"\0SERVER__CORS_ORIGINS=[a, b]",
)  # fmt: skip
SERVICE = (
    b"gateway: {url: 'http://127.0.0.1:1'}\nserver:\n  port: 0\n  index: 1\ncallers:\n  certificates: {a: null}\n  rate: 5/second\n",
    b"policy:\n  rules:\n  - {accounts: ['*'], callers: [a], payloads: [psbt]}\n  ceremonies:\n  - {kinds: [aux], proposers: [self]}\n",
    b"\0MPC__KEY_SHARE_FILE=x", b"\0CALLERS__CERTIFICATES={a: [b]}",
)  # fmt: skip

# -- committees, cards, keys -------------------------------------------------------------------------------------


def _committee(data: bytes) -> str:
    try:
        found = Committee.from_yaml(text_of(data))
    except BadCommittee as error:
        str(error).encode("utf-8", "surrogateescape")
        return "BadCommittee"
    need(Committee.from_yaml(found.to_yaml()) == found, "written and read again, it is another committee")
    return OK


RequestClass = type[ReshareRequest] | type[RecoverRequest]


def _request(kind: RequestClass) -> Callable[[bytes], str]:
    """A request that operators approve: read, written and read again it is the same, with the same id."""

    def run(data: bytes) -> str:
        try:
            found = kind.from_yaml(text_of(data), SUITES)
        except BadRequest as error:
            str(error).encode("utf-8", "surrogateescape")
            return "BadRequest"
        again = kind.from_yaml(found.to_yaml(), SUITES)
        need(
            (again, again.request_id) == (found, found.request_id),
            "written and read again, it is another request",
        )
        return OK

    return run


def _reshare_request() -> bytes:
    made = ReshareRequest.of(
        "main", deal()[0], committee_of(), committee_of(4, 3, "new"), dealers=[1, 3], threshold=3
    )
    return made.to_yaml().encode()


def _recover_request() -> bytes:
    old = committee_of()
    return (
        RecoverRequest.of(
            old, old, 1, (0, 2), {"main": (deal()[0], b"a" * 32), "b": (deal(TINY, seed="b")[0], None)}
        )
        .to_yaml()
        .encode()
    )


def _card() -> bytes:
    return node_keys()[0].card().to_json().encode()


def _sealed(data: bytes) -> str:
    """The first byte chooses: a sealed value as it is, or any plaintext, sealed."""
    sealer = EnvelopeSealer({1: SEAL_KEY, 7: bytes(32)}, SeededRng("seal"))
    if data[:1] > b"\x7f":
        need(
            sealer.unseal(sealer.seal(data, b"place"), b"place") == data,
            "sealed and opened, it is another value",
        )
        return OK
    return judged(lambda d: sealer.unseal(d, b"place"), SealBroken)(data[1:])


def _sealed_seeds() -> Iterator[bytes]:
    yield b"\0" + EnvelopeSealer({1: SEAL_KEY}, SeededRng("seal")).seal(b"secret", b"place")
    yield b"\xffsecret"


def _wrapped_by_key(data: bytes) -> str:
    return judged(lambda d: KeyFileWrapper(SEAL_KEY).unwrap(d, b"place"), SealError)(data)


_COSTS = re.compile(rb"\x03\x00\x00\x00(.)\x00(.{1,9}?)(?=\x03|\x01)", re.DOTALL)


def _wrapped_by_password(data: bytes) -> str:
    """Costs that the code allows are paid: only cheap ones are tried here."""
    if any(len(match[2]) > 1 or match[2] > b"\x40" for match in _COSTS.finditer(data)):
        return "costly"
    return judged(lambda d: PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS).unwrap(d, b"place"), SealError)(
        data
    )


def _wrapped_seed(wrapper: Any) -> list[bytes]:
    return [wrapper.wrap(bytes(32), b"place")]


# -- shares ------------------------------------------------------------------------------------------------------


def _share_file(data: bytes) -> str:
    try:
        entries = parse_share_file(data, "the file", Unlock(), SUITES)
    except ShareFileError as error:
        str(error).encode("utf-8", "surrogateescape")
        return type(error).__name__
    if not all(entry.foreign for entry in entries.values()):
        again = parse_share_file(encode_share_file(entries.values()), "the file", Unlock(), SUITES)
        need(
            {k: v.share for k, v in again.items()} == {k: v.share for k, v in entries.items()},
            "another share",
        )
    return OK


def _share_files() -> Iterator[bytes]:
    yield encode_share_file([ShareEntry("a", deal()[0], aux_sets()[0], foreign=False)])
    yield encode_share_file([ShareEntry("b", deal(CGGMP24_SECP256K1)[1], None, foreign=False)])
    core = json.loads(encode_share_file([ShareEntry("c", deal()[0], None, foreign=False)]))["c"]["key_share"]
    yield json.dumps({"c": {"core": core, "aux": {"p": 1}}}).encode()


IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
_SCRYPT = re.compile(rb"-> scrypt \S+ (\d+)")


@lru_cache(maxsize=1)
def _ages() -> tuple[bytes, ...]:
    """Of two recipients, so that one is not ours; made once and kept in the corpus, since each is random."""
    identity = pyrage.x25519.Identity.from_str(IDENTITY)
    plain = pyrage.encrypt(b"plain", [pyrage.x25519.Identity.generate().to_public(), identity.to_public()])
    armour = base64.encodebytes(plain).replace(b"\n", b"")
    lines = [armour[i : i + 64] for i in range(0, len(armour), 64)]
    framed = (
        b"-----BEGIN AGE ENCRYPTED FILE-----\n" + b"\n".join(lines) + b"\n-----END AGE ENCRYPTED FILE-----\n"
    )
    return plain, framed


def _age(data: bytes) -> str:
    """By an identity; by a password only where the file asks for little work, since age's own bound is a second."""
    unlock = Unlock(identities=[IDENTITY])
    if (found := _SCRYPT.search(data)) is not None:
        if len(found[1]) > 1 or data.startswith(b"-----"):
            return "costly"
        unlock = Unlock(password="pw")
    return judged(lambda d: decrypt(d, "the file", unlock), ShareFileError)(data)


def _private_key(data: bytes) -> str:
    return judged(
        lambda d: dealer.read_key(written(d, "key"), CGGMP24_SECP256K1), (dealer.BadKey, SecretFileError)
    )(data)


# -- callers -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _certificates() -> tuple[bytes, ...]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + dt.timedelta(1))
    )  # fmt: skip
    alternative = x509.SubjectAlternativeName(
        [
            x509.DNSName("a.example"),
            x509.UniformResourceIdentifier("spiffe://a/b"),
            x509.RFC822Name("a@b.example"),
        ]
    )
    made = (builder, builder.add_extension(alternative, critical=False))
    return tuple(b.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER) for b in made)


def _certificate(data: bytes) -> str:
    """DER, which is put into PEM here, or anything that begins like PEM."""
    pem = (
        data
        if data.startswith(b"-----")
        else b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    )
    return judged(certificate_names, BadCertificate)(pem)


def _authorization(data: bytes) -> str:
    auth = CallerAuth(Tokens.of([]))
    return judged(lambda d: auth.identify(authorization=text_of(d)), Unauthenticated)(data)


def _account_id(data: bytes) -> str:
    return judged(lambda d: check_account_id(text_of(d)), StoreConflict)(data)


def _address(data: bytes) -> str:
    try:
        found = Address.parse(text_of(data))
    except ValueError:
        return "ValueError"
    need(Address.parse(str(found)) == found, "written and read again, it is another address")
    _ = found.local
    return OK


TARGETS = [
    Target("yaml", judged(lambda d: strict_yaml.loads(text_of(d), 4096), ValueError), lambda: YAMLS, YAML_WORDS, yaml_mutated, share=0.25),
    Target("settings-gateway", _settings(GatewaySettings, ENV_PREFIX), lambda: GATEWAY, YAML_WORDS, yaml_mutated, share=0.1),
    Target("settings-service", _settings(ServiceSettings, "SIGN_SERVICE"), lambda: SERVICE, YAML_WORDS, yaml_mutated, share=0.1),
    Target("committee", _committee, lambda: [committee_of(2).to_yaml().encode()], YAML_WORDS, yaml_mutated, share=0.05),
    Target("reshare-request", _request(ReshareRequest), lambda: [_reshare_request()], YAML_WORDS, yaml_mutated, share=0.05),
    Target("recover-request", _request(RecoverRequest), lambda: [_recover_request()], YAML_WORDS, yaml_mutated, share=0.05),
    Target("tokens", judged(lambda d: Tokens.load(written(d, "tokens")), SecretFileError), lambda: [TOKENS], YAML_WORDS, yaml_mutated, share=0.1),
    Target(
        "card", judged(Card.from_json, BadCard, reads_back(lambda c: c.to_json().encode(), Card.from_json)), lambda: [_card()],
        JSON_WORDS, json_mutated,
    ),
    Target(
        "node-keys", judged(NodeKeys.from_bytes, ValueError, writes_back(NodeKeys.to_bytes)), lambda: [node_keys()[0].to_bytes()],
        mutate=mutated,
    ),
    Target("sealed", _sealed, _sealed_seeds, share=10),
    Target("wrapped-by-key", _wrapped_by_key, lambda: _wrapped_seed(KeyFileWrapper(SEAL_KEY, SeededRng("w"))), mutate=mutated, share=4),
    Target(
        "wrapped-by-password", _wrapped_by_password,
        lambda: _wrapped_seed(PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS, SeededRng("w"))), mutate=mutated, share=0.1,
    ),
    Target("share-file", _share_file, _share_files, JSON_WORDS, json_mutated, share=0.15, max_len=8192),
    Target("age", _age, _ages, words=(b"-> X25519 ", b"-> scrypt ", b"--- ", b"age-encryption.org/v1\n"), share=0.1),
    Target(
        "private-key", _private_key,
        lambda: [b"0x" + b"11" * 32 + b"\n", b"xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"],
        max_len=200, share=0.1,
    ),
    Target("certificate", _certificate, _certificates, words=(b"\x06\x03U\x1d\x11", b"\x06\x03U\x04\x03"), share=0.1),
    Target("authorization", _authorization, lambda: [b"Bearer wmpc_x", b"bearer  x", b"Basic eDp5"], max_len=700, share=12),
    Target("account-id", _account_id, lambda: [b"m/44'/60'/0'", "é".encode() * 200], max_len=700, share=12),
    Target("rate", judged(lambda d: CallerLimits(text_of(d)), ValueError), lambda: [b"10/second; 300/minute", b"1 per 2 hour"], max_len=200, share=4),
    Target(
        "service-address", _address,
        lambda: [b"http://127.0.0.1:1", b"https://[::1]:2/", b"a.example:3", b"unix:/run/x", b"unix:///run/x"], max_len=200, share=4,
    ),
]  # fmt: skip
