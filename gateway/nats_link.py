"""One connection to a NATS server: requests with one time limit, and errors of one kind.

A connection that is lost stays lost: its requests end at once, and nothing that was said on it is said again. Who needs
another one makes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import math
from base64 import b64decode
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, MaxPayloadError, NoRespondersError, SlowConsumerError

from gateway.settings import NatsSettings
from gateway.store import StoreUnavailable
from kit.logs import get_logger
from kit.tls import client_context

API = "$JS.API"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
# JetStream's error codes (server/errors.json of nats-server).
WRONG_LAST_SEQUENCE = 10071
STORE_FAILED = 10077
MESSAGE_NOT_FOUND = 10037
# Memory, storage, and resources of the server or the account.
EXHAUSTED = frozenset({10002, 10023, 10028, 10047})
CLOSE_SECONDS = 1.0

_log = get_logger(__name__)


class Conflict(Exception):
    """The subject's last message is not the one that was expected."""


class Exhausted(Exception):
    """The stream, or the server, keeps as much as it may."""


class ApiError(Exception):
    """JetStream refuses a request; `code` is its own."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream. `time`: seconds of the server's wall clock; 0 if it was told and not read."""

    subject: str
    seq: int
    time: float
    headers: Mapping[str, str]
    data: bytes


class _Client(Client):
    """The library's, which would go on without TLS when a server, or who is in its place, offers none."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        if "tls" in self.options and not info.get("tls_required"):
            raise Error("the server does not ask for TLS")
        await super()._process_info(info, initial_connection)


class NatsLink:
    """See the module."""

    def __init__(self, settings: NatsSettings, on_lost: Callable[[], None]) -> None:
        """Call `connect` next, and `close` in the end, also if it failed. `on_lost` is called once, when `lost` becomes true.

        Raises SettingsError.
        """
        self._settings = settings
        self._seconds = settings.timeout_seconds
        self._options: dict[str, Any] = dict(settings.read_credentials())
        if settings.tls:
            self._options["tls"] = client_context(settings.ca, settings.certificate, settings.key)
        self._client = _Client()
        # Of the requests that are under way.
        self._limits: set[asyncio.Timeout] = set()
        self._trouble: Exception | None = None
        self._on_lost = on_lost
        self.lost = False

    async def connect(self) -> None:
        """Raises StoreUnavailable."""
        settings = self._settings
        whole_seconds = math.ceil(self._seconds)
        try:
            async with asyncio.timeout(self._seconds):
                await self._client.connect(
                    settings.servers,
                    name="sign-gateway",
                    error_cb=self._erred,
                    closed_cb=self._closed,
                    allow_reconnect=False,
                    # Every server twice.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=whole_seconds,
                    # A silent server is given up after three of them.
                    ping_interval=whole_seconds,
                    **self._options,
                )
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(self._trouble or error) from None
        if not self._client.is_connected:
            # The library takes a connection that ends where an answer to its greeting is due for one.
            raise StoreUnavailable("NATS: the server closes the connection: it may want other credentials")

    async def close(self) -> None:
        """Ends it, and whatever is under way on it."""
        self.end()
        with contextlib.suppress(Error, OSError, TimeoutError):
            # After a failed handshake its end would be waited for in vain.
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._client.close()

    @property
    def max_payload(self) -> int:
        """The largest message that the server takes, headers and all."""
        return self._client.max_payload

    # -- what is asked -------------------------------------------------------------------------------------------

    async def publish(
        self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        """Adds a message to the subject's stream; returns its sequence number there.

        Raises Conflict (EXPECTED_LAST), Exhausted, StoreUnavailable (it may be there all the same).
        """
        answer = json.loads((await self.request(subject, payload, headers)).data)
        error = answer.get("error")
        if error is None:
            return int(answer["seq"])
        code, what = error.get("err_code"), error.get("description", "")
        if code == WRONG_LAST_SEQUENCE:
            raise Conflict
        if code in EXHAUSTED or (code == STORE_FAILED and what.startswith("maximum ")):
            raise Exhausted(what)
        raise StoreUnavailable(f"NATS: {what}")

    async def say(self, subject: str, payload: bytes = b"") -> None:
        """Sends a message; whether it arrives is not known. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._client.publish(subject, payload)
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message of a subject. Raises StoreUnavailable."""
        return await self._get(stream, last_by_subj=subject)

    async def first(self, stream: str, subject: str, seq: int) -> Stored | None:
        """The first message of a subject (wildcards allowed) from `seq` on. Raises StoreUnavailable."""
        return await self._get(stream, seq=max(seq, 1), next_by_subj=subject)

    async def _get(self, stream: str, **which: Any) -> Stored | None:
        if self._settings.replicas == 1:
            message = await self.request(f"{API}.DIRECT.GET.{stream}", json.dumps(which).encode())
            headers = message.headers or {}
            if headers.get("Status") == "404":
                return None
            if "Status" in headers:
                raise StoreUnavailable(f"NATS: {headers.get('Description', headers['Status'])}")
            time = _seconds_of(headers["Nats-Time-Stamp"])
            return Stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), time, headers, message.data)
        # Any replica answers a direct request, also one that is behind; this one the leader alone.
        try:
            found = (await self.api(f"STREAM.MSG.GET.{stream}", **which))["message"]
        except ApiError as error:
            if error.code == MESSAGE_NOT_FOUND:
                return None
            raise StoreUnavailable(f"NATS: {error}") from None
        lines = b64decode(found.get("hdrs", "")).decode().splitlines()
        pairs = (line.partition(":") for line in lines)
        headers = {name: value.strip() for name, colon, value in pairs if colon}
        body = b64decode(found.get("data", ""))
        return Stored(found["subject"], found["seq"], _seconds_of(found["time"]), headers, body)

    async def api(self, call: str, **about: Any) -> dict[str, Any]:
        """What JetStream answers. Raises ApiError, StoreUnavailable."""
        message = await self.request(f"{API}.{call}", json.dumps(about).encode() if about else b"")
        answer: dict[str, Any] = json.loads(message.data)
        error = answer.get("error")
        if error is not None:
            raise ApiError(error.get("err_code", 0), error.get("description", ""))
        return answer

    async def request(
        self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Its answer. Raises StoreUnavailable."""
        if self.lost:
            raise self._unavailable(self._trouble)
        about = None if headers is None else dict(headers)
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._limits.add(limit)
                try:
                    return await self._client.request(subject, payload, self._seconds, headers=about)
                finally:
                    self._limits.discard(limit)
        except NoRespondersError:
            # JetStream is off, without a leader, or has lost its streams: another connection looks after them.
            self.end()
            raise StoreUnavailable("NATS: JetStream does not answer") from None
        except MaxPayloadError:
            raise StoreUnavailable(
                f"NATS: a message has at most {self.max_payload} bytes (max_payload)"
            ) from None
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(self._trouble or error) from None

    async def subscribe(self, subject: str, told: Callable[[Stored], Awaitable[None]]) -> Subscription:
        """Has `told` called with what the stream tells of its new messages. Raises StoreUnavailable."""

        async def heard(message: Msg) -> None:
            headers = message.headers or {}
            seq = int(headers.get("Nats-Sequence", 0))
            await told(Stored(headers.get("Nats-Subject", ""), seq, 0, headers, message.data))

        try:
            async with asyncio.timeout(self._seconds):
                return await self._client.subscribe(subject, cb=heard)
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def many(self, subject: str, payload: bytes, count: int) -> list[Stored]:
        """What a consumer delivers when it is asked for `count` messages and not to wait. Raises StoreUnavailable."""
        found: list[Stored] = []
        done = asyncio.get_running_loop().create_future()

        async def heard(message: Msg) -> None:
            headers = message.headers or {}
            if "Status" not in headers:
                # $JS.ACK.stream.consumer.deliveries.seq.consumer seq.time.pending
                seq = int(message.reply.split(".")[5])
                found.append(Stored(message.subject, seq, 0, headers, message.data))
            if ("Status" in headers or len(found) == count) and not done.done():
                done.set_result(None)

        inbox = self._client.new_inbox()
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._limits.add(limit)
                subscription = await self._client.subscribe(inbox, cb=heard)
                try:
                    await self._client.publish(subject, payload, reply=inbox)
                    await done
                finally:
                    self._limits.discard(limit)
                    with contextlib.suppress(Error):
                        await subscription.unsubscribe()
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(self._trouble or error) from None
        return found

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Ends it. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._seconds):
                await subscription.unsubscribe()
        except (Error, OSError, TimeoutError) as error:
            raise self._unavailable(error) from None

    # -- how it ends ---------------------------------------------------------------------------------------------

    async def _erred(self, error: Exception) -> None:
        self._trouble = error
        if isinstance(error, SlowConsumerError):
            # What it dropped is read from the stream, on the next connection.
            self.end()
        _log.debug("NATS", error=repr(error))

    async def _closed(self) -> None:
        self.end()

    def end(self) -> None:
        """Whatever is under way on it fails, and whatever is asked from now on."""
        if self.lost:
            return
        self.lost = True
        self._on_lost()
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            # One may have passed just now, and its request not have noticed yet.
            if not limit.expired():
                limit.reschedule(now)

    @staticmethod
    def _unavailable(error: Exception | None) -> StoreUnavailable:
        what = "the connection is lost" if error is None else f"{type(error).__name__}: {error}"
        return StoreUnavailable(f"NATS: {what}")


async def finished(closing: Coroutine[Any, Any, None]) -> None:
    """Waits for it to its end, also when cancelled meanwhile: half closed, a connection stays open."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _seconds_of(time: str) -> float:
    """Of RFC 3339 with nanoseconds."""
    return dt.datetime.fromisoformat(time).timestamp()
