import datetime as dt
import stat
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kit.certificate_names import BadCertificate, certificate_names
from participant import callers as callers_module
from participant.callers import (
    AccountNotAllowed,
    Caller,
    CallerAuth,
    CallerLimits,
    ExposureRefused,
    RateLimited,
    Tokens,
    Unauthenticated,
    check_exposure,
    hash_token,
    new_token,
    write_token_file,
)
from participant.files import SecretFileError, SecretFileExposed, create_private


def certificate(common_name="cn.example", names=()):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_token_file_round_trip(tmp_path):
    path = tmp_path / "tokens.yaml"
    tokens = write_token_file(path, {"alice": None, "bob": ["m/44'", "2"]})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_text()
    assert all(token not in content and token.startswith("wmpc_") for token in tokens.values())
    auth = CallerAuth(tokens=Tokens.load(path))
    assert auth.identify(authorization=f"Bearer {tokens['alice']}") == Caller("alice")
    assert auth.identify(authorization=f"bearer {tokens['bob']}") == Caller("bob", frozenset({"m/44'", "2"}))
    with pytest.raises(SecretFileError, match="exists already"):
        write_token_file(path, {"alice": None})


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer " + "x" * 5000,
     "Bearer \ud800", "Token {token}", "Bearer {hash}"],
)  # fmt: skip
def test_wrong_tokens(header):
    token = new_token()
    auth = CallerAuth(tokens=Tokens.of([(hash_token(token), Caller("alice"))]))
    with pytest.raises(Unauthenticated):
        auth.identify(authorization=header.format(token=token, hash=hash_token(token).hex()), loopback=True)
    with pytest.raises(Unauthenticated, match="bearer token or a client certificate"):
        auth.identify(loopback=True)


def test_a_wrong_token_is_refused_whatever_certificate_is_there():
    auth = CallerAuth(tokens=Tokens.of([(bytes(32), Caller("a"))]), certificates={"cn.example": None})
    assert auth.identify(certificate_pem=certificate()).name == "cn.example"
    with pytest.raises(Unauthenticated):
        auth.identify(certificate_pem=certificate(), authorization="Bearer wrong")


def test_tokens_are_compared_in_constant_time_with_every_entry(monkeypatch):
    compared = []

    def compare(a, b):
        compared.append(a)
        return a == b

    monkeypatch.setattr(callers_module.hmac, "compare_digest", compare)
    token = new_token()
    entries = [
        (hash_token(token), Caller("first")),
        *((hash_token(str(i)), Caller(str(i))) for i in range(5)),
    ]
    assert Tokens.of(entries).find(token) == Caller("first")
    assert compared == [digest for digest, _ in entries]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a list"),
        (b"[]", "not a list"),
        (b"a: 1", "not a list"),
        (b"- 1", "other keys"),
        (b"- {name: a}", "other keys"),
        (b"- {name: a, sha256: '%s', extra: 1}" % (b"0" * 64), "other keys"),
        (b"- {name: '', sha256: '%s'}" % (b"0" * 64), "no usable name"),
        (b"- {name: loopback, sha256: '%s'}" % (b"0" * 64), "no usable name"),
        (b"- {name: 5, sha256: '%s'}" % (b"0" * 64), "no usable name"),
        (b"- {name: a, sha256: abc}", "64 lower-case"),
        (b"- {name: a, sha256: '%s', accounts: x}" % (b"0" * 64), "not a list of account ids"),
        (b"- {name: a, sha256: '%s', accounts: [1]}" % (b"0" * 64), "not a list of account ids"),
        (b"- {name: a, sha256: '%s'}\n" % (b"0" * 64) * 2, "token stands in it twice"),
        (
            b"- {name: a, sha256: '%s'}\n- {name: a, sha256: '%s'}" % (b"0" * 64, b"1" * 64),
            "name stands in it twice",
        ),
        (b"\xff", "utf-8"),
        (b"- {name: a, name: b, sha256: '%s'}" % (b"0" * 64), "stands twice"),
    ],
)
def test_bad_token_files(tmp_path, content, expected):
    path = tmp_path / "tokens.yaml"
    create_private(path, content)
    with pytest.raises(SecretFileError, match=expected) as raised:
        Tokens.load(path)
    assert str(path) in str(raised.value)


def test_token_file_mode(tmp_path):
    path = tmp_path / "tokens.yaml"
    write_token_file(path, {"alice": None})
    path.chmod(0o644)
    with pytest.raises(SecretFileExposed):
        Tokens.load(path)


def test_names_of_certificates():
    names = [
        x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://x/y"), x509.RFC822Name("m@example"),
    ]  # fmt: skip
    assert certificate_names(certificate(names=names)) == ("a.example", "spiffe://x/y", "m@example")
    # The common name counts only where there is nothing better: a CA that checks DNS names may not check it.
    assert certificate_names(certificate("admin", names[:1])) == ("a.example",)
    assert certificate_names(certificate("admin")) == ("admin",)
    assert certificate_names(certificate("")) == ()
    for junk in (b"junk", b"-----BEGIN CERTIFICATE-----\njunk"):
        with pytest.raises(BadCertificate, match="cannot be read"):
            certificate_names(junk)
        with pytest.raises(Unauthenticated, match="cannot be read"):
            CallerAuth(certificates={"a.example": None}).identify(certificate_pem=junk)


def test_certificates_of_allowed_names_only():
    auth = CallerAuth(certificates={"a.example": frozenset({"hot"}), "b.example": None})
    caller = auth.identify(certificate_pem=certificate(names=[x509.DNSName("a.example")]))
    assert caller == Caller("a.example", frozenset({"hot"}))
    with pytest.raises(Unauthenticated, match="names nobody"):
        auth.identify(certificate_pem=certificate(names=[x509.DNSName("c.example")]))
    with pytest.raises(Unauthenticated, match="names nobody"):
        auth.identify(certificate_pem=certificate("a.example", [x509.DNSName("c.example")]))
    with pytest.raises(Unauthenticated):
        auth.identify()


def test_accounts_of_a_caller():
    Caller("a").check_account("anything")
    Caller("a", frozenset({"hot"})).check_account("hot")
    with pytest.raises(AccountNotAllowed, match="may not use account 'cold'"):
        Caller("a", frozenset({"hot"})).check_account("cold")


def test_the_anonymous_caller_is_for_loopback_without_authentication():
    assert CallerAuth().identify(loopback=True) == Caller("loopback")
    assert CallerAuth().identify(loopback=True, authorization="Bearer x").name == "loopback"
    with pytest.raises(Unauthenticated):
        CallerAuth().identify()
    with pytest.raises(Unauthenticated):
        CallerAuth(certificates={"a": None}).identify(loopback=True)


LOOPBACK = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "[::1]",
    "localhost",
    "LOCALHOST",
    "unix:/run/x.sock",
    "::ffff:127.0.0.1",
]
EXPOSED = [
    "0.0.0.0",  # noqa: S104 - to be refused
    "::",
    "[::]",
    "192.168.1.1",
    "10.0.0.1",
    "example.com",
    "",
    "127.0.0.1.example.com",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_no_authentication(host):
    check_exposure(host, CallerAuth())


@pytest.mark.parametrize("host", EXPOSED)
def test_elsewhere_needs_authentication(host):
    with pytest.raises(ExposureRefused, match="only a loopback address is served"):
        check_exposure(host, CallerAuth())
    check_exposure(host, CallerAuth(certificates={"a": None}))
    check_exposure(host, CallerAuth(tokens=Tokens.of([(bytes(32), Caller("a"))])))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_limits_hold_in_a_moving_window_by_the_given_clock():
    clock = Clock()
    limits = CallerLimits("3/second; 5/minute", clock)
    for _ in range(3):
        limits.hit("alice")
    with pytest.raises(RateLimited, match="3 per 1 second") as raised:
        limits.hit("alice")
    assert 0 < raised.value.retry_after <= 1
    limits.hit("bob")
    clock.now += 0.5
    with pytest.raises(RateLimited):
        limits.hit("alice")
    clock.now += 0.5
    limits.hit("alice")
    limits.hit("alice")
    with pytest.raises(RateLimited, match="5 per 1 minute") as raised:
        limits.hit("alice")
    assert raised.value.retry_after == pytest.approx(59.0)
    # What was refused counted for nothing: after a minute there is room again.
    clock.now += 59.0
    for _ in range(3):
        limits.hit("alice")


@pytest.mark.fault(9)
def test_a_clock_that_stands_still_never_opens_the_window():
    limits = CallerLimits("2/second", Clock())
    limits.hit("alice")
    limits.hit("alice")
    for _ in range(100):
        with pytest.raises(RateLimited):
            limits.hit("alice")


@pytest.mark.parametrize("text", ["", "fast", "10", "10/fortnight", "-"])
def test_bad_limits(text):
    with pytest.raises(ValueError, match="is not of the form"):
        CallerLimits(text)


def test_limits_start_no_thread():
    before = threading.active_count()
    CallerLimits("10/second").hit("alice")
    assert threading.active_count() == before
