"""Who may do what in which room: room tokens, client certificates, and what an open stream keeps of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from gateway.key_set import KeyFile, open_key_set
from gateway.meters import Meters
from gateway.rooms import EXPIRED, REVOKED
from gateway.settings import AccessSettings
from gateway.tokens import SUBSCRIBE, Grant, TokenRefused, Verifier
from kit.certificate_names import BadCertificate, certificate_names
from kit.connection import connection_of

LOOK_SECONDS: Final = 1.0
"""Between two looks at the key set's file."""

REALM: Final = "rooms"

End = Callable[[str], None]


class NotAdmitted(Exception):
    """A request that its sender may not make. `reason` is stable (answer, log, metrics)."""

    def __init__(self, status: int, reason: str, text: str, challenge: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.headers: Mapping[str, str] = {} if challenge is None else {"www-authenticate": challenge}


class Access:
    """The doors of one gateway. Without key set and certificates everybody may do everything."""

    def __init__(self, settings: AccessSettings, meters: Meters) -> None:
        """Raises SettingsError for a key set that cannot be used."""
        self._settings = settings
        self._verifier = Verifier(settings.max_token_seconds, settings.leeway_seconds)
        self._certificates = frozenset(settings.certificates)
        self._streams: dict[object, tuple[Grant, End]] = {}
        self._task: asyncio.Task[None] | None = None
        self._file = file = open_key_set(settings.key_set)
        if file is not None:
            file.on_change = self._revoke
            meters.token_keys.set_function(lambda: len(file.keys))
            meters.key_set_stale.set_function(lambda: float(file.problem is not None))

    @property
    def tokens(self) -> bool:
        """Whether rooms ask for tokens."""
        return self._file is not None

    def start(self) -> None:
        """Looks after the key set's file from now on."""
        if self._file is not None:
            self._task = asyncio.get_running_loop().create_task(
                self._look_for_ever(self._file), name="key set"
            )

    async def close(self) -> None:
        """Stops looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def reload(self) -> bool:
        """Reads the key set again now; False if it cannot be used (logged), and the former one stays in force."""
        return self._file is None or self._file.reload()

    def admit(self, scope: Scope, room: str, right: str) -> Grant | None:
        """What lets this request in, before anything of its body was read; None where no token is asked for.

        Raises NotAdmitted.
        """
        if self._certificates:
            self._check_certificate(connection_of(scope).certificate())
        if self._file is None:
            return None
        token = self._token(scope, right)
        if token is None:
            raise NotAdmitted(
                401,
                "no_token",
                "this gateway asks for a room token: send Authorization: Bearer <token>",
                f'Bearer realm="{REALM}"',
            )
        try:
            return self._verifier.check(token, self._file.keys, room, right)
        except TokenRefused as error:
            code = "insufficient_scope" if error.status == 403 else "invalid_token"
            challenge = f'Bearer realm="{REALM}", error="{code}", error_description="{error.reason}"'
            if code == "insufficient_scope":
                challenge += f', scope="{right}"'
            raise NotAdmitted(error.status, error.reason, str(error), challenge) from None

    @contextlib.contextmanager
    def while_good(self, grant: Grant | None, end: End) -> Iterator[None]:
        """A stream is open. `end` is called with a reason when its token expires or its key leaves the key set."""
        if grant is None:
            yield
            return
        stream = object()
        self._streams[stream] = grant, end
        timer = asyncio.get_running_loop().call_later(self._verifier.seconds_left(grant), end, EXPIRED)
        try:
            yield
        finally:
            timer.cancel()
            del self._streams[stream]

    def _check_certificate(self, certificate: bytes | None) -> None:
        try:
            names = certificate_names(certificate) if certificate is not None else ()
        except BadCertificate:
            names = ()
        if not self._certificates & set(names):
            text = "this client certificate is none of those that may use the rooms (access.certificates)"
            raise NotAdmitted(403, "certificate_not_allowed", text)

    def _token(self, scope: Scope, right: str) -> str | None:
        found = [value for name, value in scope["headers"] if name == b"authorization"]
        tokens = [_bearer(value) for value in found]
        if self._settings.token_in_query and right == SUBSCRIBE:
            query = scope["query_string"].decode("latin-1")
            with contextlib.suppress(ValueError):
                tokens += [
                    value for name, value in parse_qsl(query, max_num_fields=16) if name == "access_token"
                ]
        if len(tokens) > 1:
            challenge = f'Bearer realm="{REALM}", error="invalid_request"'
            raise NotAdmitted(400, "several_tokens", "send one token in one way", challenge)
        return tokens[0] if tokens else None

    def _revoke(self) -> None:
        assert self._file is not None  # noqa: S101 - its own callback
        for grant, end in list(self._streams.values()):
            if self._file.keys.get(grant.key.kid) != grant.key:
                end(REVOKED)

    @staticmethod
    async def _look_for_ever(file: KeyFile) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            file.look()


def _bearer(value: bytes) -> str:
    """The token of an Authorization header, "" when it is of another kind."""
    scheme, _, token = value.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
