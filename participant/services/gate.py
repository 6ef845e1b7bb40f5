"""What stands before every method of a listener: who calls, how often, and how failures leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from kit import tracing
from kit.logs import get_logger
from participant.callers import Caller, CallerAuth, CallerLimits, Unauthenticated, is_loopback
from participant.node.errors import InternalFailure, NodeFailure, failure_of
from participant.services.status import CODES, code_of, trailers

Context = aio.ServicerContext[Any, Any]
Identify = Callable[[Context], Caller]
Observe = Callable[[str, str, float], None]
"""(method, code, seconds), after every call."""
Unary = Callable[[Any, Caller], Awaitable[Any]]
Streaming = Callable[[Any, Caller], AsyncGenerator[Any, None]]

OPERATOR: Final = "operator"
"""Name of whoever reaches the operator's unix socket."""
QUIET_SECONDS: Final = 10.0
LINES: Final = 20
"""So many lines a reason in so many seconds: a flood of bad calls must not fill the disk."""

T = TypeVar("T")

_log = get_logger(__name__)


def callers_of(auth: CallerAuth) -> Identify:
    """Identifies callers by what `auth` knows. The identity of a connection's certificate is TLS's word."""

    def identify(context: Context) -> Caller:
        authorization = [
            value for key, value in context.invocation_metadata() or () if key == "authorization"
        ]
        if len(authorization) > 1:
            raise Unauthenticated("the call carries two bearer tokens")
        return auth.identify(
            certificate_pem=_certificate(context),
            authorization=str(authorization[0]) if authorization else None,
            loopback=is_loopback(_host(context.peer())),
        )

    return identify


def operator_at_socket(_: Context) -> Caller:
    """Identifies whoever the file system let connect."""
    return Caller(OPERATOR)


def _certificate(context: Context) -> bytes | None:
    chain = context.auth_context().get("x509_pem_cert")
    return next(iter(chain), None) if chain is not None else None


def _host(peer: str) -> str:
    """The host of gRPC's name for a peer, such as ipv4:127.0.0.1:4711 or ipv6:%5B::1%5D:4711."""
    family, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if family in {"ipv4", "ipv6"} else ""


class Gate:
    """One listener's gate."""

    def __init__(
        self,
        identify: Identify,
        limits: CallerLimits | None = None,
        observe: Observe = lambda _method, _code, _seconds: None,
    ) -> None:
        self._identify = identify
        self._limits = limits
        self._observe = observe
        self._windows: dict[str, tuple[float, int]] = {}

    def let_in(self, identify: Identify, limits: CallerLimits | None) -> None:
        """Asks `identify` and `limits` from the next call on."""
        self._identify = identify
        self._limits = limits

    def handler(
        self,
        service: ServiceDescriptor,
        implementation: object,
        codes: Mapping[str, grpc.StatusCode] = CODES,
    ) -> grpc.GenericRpcHandler:
        """The handler of a service, whose methods `implementation` has under their own names, taking (request, caller).

        `codes` are the statuses by reason. Raises AttributeError for a method that is not there.
        """
        handlers = {
            method.name: self._method(method, getattr(implementation, method.name), codes)
            for method in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _method(
        self, method: MethodDescriptor, function: Any, codes: Mapping[str, grpc.StatusCode]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        name = f"{method.containing_service.full_name}/{method.name}"

        async def unary(request: Message, context: Context) -> Message:
            with tracing.span_of(context.invocation_metadata() or (), name):
                return await answered(request, context)

        async def answered(request: Message, context: Context) -> Message:
            async with self._passage(name, context, codes) as caller:
                answer: Message = await function(request, caller)
            return answer

        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            with tracing.span_of(context.invocation_metadata() or (), name):
                async for item in streamed(request, context):
                    yield item

        async def streamed(request: Message, context: Context) -> AsyncIterator[Message]:
            async with (
                self._passage(name, context, codes) as caller,
                aclosing(function(request, caller)) as items,
            ):
                async for item in items:
                    yield item

        read = GetMessageClass(method.input_type).FromString
        write = GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        return grpc.unary_unary_rpc_method_handler(unary, read, write)

    @asynccontextmanager
    async def _passage(
        self, method: str, context: Context, codes: Mapping[str, grpc.StatusCode]
    ) -> AsyncIterator[Caller]:
        """One call: admits its caller, counts and logs its end, and sends a failure as a status."""
        started = time.monotonic()
        caller: Caller | None = None
        code, failure = grpc.StatusCode.CANCELLED, None
        try:
            caller = self._admit(context)
            yield caller
            code = grpc.StatusCode.OK
        except Exception as error:  # noqa: BLE001 - every failure leaves by this way
            failure = failure_of(error)
            code = code_of(failure, codes)
            if isinstance(failure, InternalFailure):
                _log.error("internal error", method=method, exc_info=error)
            text, metadata = trailers(code, failure)
            await context.abort(code, text, metadata)
        finally:
            seconds = time.monotonic() - started
            self._observe(method, code.name, seconds)
            self._log_end(method, code, seconds, caller, failure)

    def _admit(self, context: Context) -> Caller:
        caller = self._identify(context)
        if self._limits is not None:
            self._limits.hit(caller.name)
        return caller

    def _log_end(
        self,
        method: str,
        code: grpc.StatusCode,
        seconds: float,
        caller: Caller | None,
        failure: NodeFailure | None,
    ) -> None:
        about = {"method": method, "code": code.name, "seconds": round(seconds, 3)}
        if caller is not None:
            about["caller"] = caller.name
        if failure is None:
            _log.info("call", **about)
            return
        start, lines = self._windows.get(failure.reason, (float("-inf"), 0))
        now = time.monotonic()
        if now - start >= QUIET_SECONDS:
            if lines > LINES:
                _log.warning(
                    "failed calls, not logged one by one", reason=failure.reason, times=lines - LINES
                )
            start, lines = now, 0
        self._windows[failure.reason] = (start, lines + 1)
        if lines < LINES:
            _log.warning("call failed", reason=failure.reason, text=str(failure), **about)


class Lasting:
    """Work that goes on when the caller who asked for it hangs up: its result is kept for whoever asks again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of `work`, which is not cancelled together with the caller of this method."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Seen here in case that nobody waits any more.
            task.exception()

    async def close(self) -> None:
        """Cancel what is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
