"""Who calls: a client certificate, a bearer token, or, on a loopback listener without either, nobody in particular."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import yaml
from limits import RateLimitItem, parse_many
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter

from kit.certificate_names import BadCertificate, certificate_names
from participant import strict_yaml
from participant.errors import NodeError
from participant.files import SecretFileError, create_private, read_private
from participant.identity import hex_field

TOKEN_PREFIX: Final = "wmpc_"  # noqa: S105 - what secret scanners know our tokens by
TOKEN_BYTES: Final = 32
MAX_TOKEN_FILE: Final = 1 << 20
MAX_TOKEN: Final = 512
ANONYMOUS: Final = "loopback"
"""Name of the caller on a loopback listener without authentication."""


class Unauthenticated(NodeError):
    """No credentials that this node knows."""


class AccountNotAllowed(NodeError):
    """The caller is known, but not for this account."""


class ExposureRefused(NodeError):
    """A listener that everybody could reach and nobody would be asked who they are."""


class RateLimited(NodeError):
    """The caller asked too often. `retry_after` is in seconds."""

    def __init__(self, caller: str, limit: str, retry_after: float) -> None:
        super().__init__(f"caller {caller!r} exceeded its limit of {limit}; try again in {retry_after:.1f} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. `accounts` None means every account that the policy allows."""

    name: str
    accounts: frozenset[str] | None = None

    def check_account(self, account_id: str) -> None:
        """Raise AccountNotAllowed unless the caller may use the account."""
        if self.accounts is not None and account_id not in self.accounts:
            raise AccountNotAllowed(f"caller {self.name!r} may not use account {account_id!r}")


def hash_token(token: str) -> bytes:
    """SHA-256 of a token. Tokens are 32 random bytes, so a fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def new_token() -> str:
    """A fresh bearer token, to be shown once and stored nowhere."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True)
class Tokens:
    """The callers of a token file: a YAML list of {name, sha256, accounts}; without `accounts` it is all of them."""

    callers: tuple[tuple[bytes, Caller], ...] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a token file of mode 0600. Raises SecretFileError, which names what is wrong."""
        try:
            text = read_private(path, MAX_TOKEN_FILE).decode()
            entries = strict_yaml.loads(text, MAX_TOKEN_FILE)
            if not isinstance(entries, list) or not entries:
                raise ValueError("it is not a list of {name, sha256, accounts}")  # noqa: TRY301 - one way out
            return cls.of(_entry(number, entry) for number, entry in enumerate(entries))
        except ValueError as error:
            raise SecretFileError(f"token file {path}: {error}") from None

    @classmethod
    def of(cls, entries: Iterable[tuple[bytes, Caller]]) -> Self:
        """From (SHA-256 of the token, caller). Raises ValueError for one hash or one name used twice."""
        callers = tuple(entries)
        for what, values in (("token", [h for h, _ in callers]), ("name", [c.name for _, c in callers])):
            if len(set(values)) != len(values):
                raise ValueError(f"a {what} stands in it twice")
        return cls(callers)

    def find(self, token: str) -> Caller | None:
        """The caller with this token. Compares with every hash, each in constant time."""
        digest, found = hash_token(token), None
        for known, caller in self.callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _entry(number: int, entry: Any) -> tuple[bytes, Caller]:
    place = f"entry {number}"
    if not isinstance(entry, dict) or not {"name", "sha256"} <= set(entry) <= {"name", "sha256", "accounts"}:
        raise ValueError(f"{place} has other keys than name, sha256 and (where wanted) accounts")
    name, accounts = entry["name"], entry.get("accounts")
    if not isinstance(name, str) or not name or name == ANONYMOUS:
        raise ValueError(f"{place} has no usable name")
    if accounts is not None and not (
        isinstance(accounts, list) and all(isinstance(a, str) for a in accounts)
    ):
        raise ValueError(f"{place}: accounts is not a list of account ids (quote them)")
    digest = hex_field(entry["sha256"], 32, f"{place}: sha256")
    return digest, Caller(name, None if accounts is None else frozenset(accounts))


def write_token_file(path: Path, callers: Mapping[str, Sequence[str] | None]) -> dict[str, str]:
    """Make a new token file for these callers (name -> account ids or None for all); the tokens by name."""
    tokens = {name: new_token() for name in callers}
    entries: list[dict[str, Any]] = []
    for name, accounts in callers.items():
        entry: dict[str, Any] = {"name": name, "sha256": hash_token(tokens[name]).hex()}
        entries.append(entry if accounts is None else entry | {"accounts": list(accounts)})
    create_private(path, yaml.safe_dump(entries, sort_keys=False).encode())
    return tokens


@dataclass(frozen=True)
class CallerAuth:
    """How callers of one listener prove who they are. All empty: only the loopback caller, and only on loopback."""

    tokens: Tokens | None = None
    certificates: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Allowed certificate names with their accounts (None: all). The CA is the TLS layer's."""

    @property
    def configured(self) -> bool:
        """Whether callers are asked for anything."""
        return self.tokens is not None or bool(self.certificates)

    def identify(
        self,
        *,
        certificate_pem: bytes | None = None,
        authorization: str | None = None,
        loopback: bool = False,
    ) -> Caller:
        """The caller behind a request. Raises Unauthenticated.

        `certificate_pem`: the peer's verified certificate. `authorization`: the header's value. `loopback`: whether the
        peer's address is a loopback one. A token decides when one is sent: a wrong one is refused whatever else is there.
        """
        if authorization is not None and self.tokens is not None:
            return self._by_token(authorization)
        if certificate_pem is not None and self.certificates:
            try:
                names = certificate_names(certificate_pem)
            except BadCertificate as error:
                raise Unauthenticated(str(error)) from None
            for name in names:
                if name in self.certificates:
                    return Caller(name, self.certificates[name])
            raise Unauthenticated("the client certificate is valid, but names nobody whom this node knows")
        if not self.configured and loopback:
            return Caller(ANONYMOUS)
        raise Unauthenticated("this node asks its callers for a bearer token or a client certificate")

    def _by_token(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        caller = None
        if self.tokens is not None and scheme.lower() == "bearer" and 0 < len(token) <= MAX_TOKEN:
            caller = self.tokens.find(token.strip())
        if caller is None:
            raise Unauthenticated("the bearer token is not one of those that this node knows")
        return caller


def is_loopback(host: str) -> bool:
    """Whether a listening host is reachable from this machine only. Names other than localhost are not trusted to be."""
    if host.lower() == "localhost" or host.startswith("unix:"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_exposure(host: str, auth: CallerAuth) -> None:
    """Raise ExposureRefused for a listener beyond loopback that asks nobody who they are."""
    if not auth.configured and not is_loopback(host):
        raise ExposureRefused(
            f"refusing to listen on {host}: without caller authentication only a loopback address is served. Configure "
            "client certificates (a CA and allowed names) or a token file, or listen on 127.0.0.1"
        )


class _ClockedMemory(Storage, MovingWindowSupport):
    """Moving windows in memory by a given monotonic clock.

    The library's own memory storage reads the wall clock, which a jump would fool, and runs a timer thread.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[str, deque[float]] = {}
        super().__init__()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if amount > limit:
            return False
        window = self._window(key, expiry)
        if len(window) + amount > limit:
            return False
        window.extend([self._clock()] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        window = self._window(key, expiry)
        return (window[0] if window else self._clock()), min(len(window), limit)

    def _window(self, key: str, expiry: int) -> deque[float]:
        window, oldest = self._windows.setdefault(key, deque()), self._clock() - expiry
        while window and window[0] <= oldest:
            window.popleft()
        return window

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        raise NotImplementedError("only moving windows are counted here")

    def get(self, key: str) -> int:
        return len(self._windows.get(key, ()))

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("only moving windows are counted here")

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)


class CallerLimits:
    """Requests a caller may make, such as "10/second; 300/minute". Callers are authenticated, so they are few.

    Not thread-safe: for the event loop.
    """

    def __init__(self, limits: str, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            self._items: list[RateLimitItem] = parse_many(limits)
        except ValueError:
            raise ValueError(f"rate limit {limits!r} is not of the form '10/second; 300/minute'") from None
        self._clock = clock
        self._limiter = MovingWindowRateLimiter(_ClockedMemory(clock))

    def hit(self, caller: str) -> None:
        """Count one request of `caller`. Raises RateLimited; a request that is refused counts for no limit."""
        for item in self._items:
            if not self._limiter.test(item, caller):
                reset = self._limiter.get_window_stats(item, caller).reset_time
                raise RateLimited(caller, str(item), max(0.0, reset - self._clock()))
        for item in self._items:
            self._limiter.hit(item, caller)
