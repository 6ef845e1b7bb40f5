"""One participant's daemon put together: store, node, listeners, metrics; and how it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from kit.daemon import CannotStart, StopSignal, announce, keep_what_is_there
from kit.health import Health, health_app
from kit.http import HttpLimits, HttpServer
from kit.logs import get_logger
from kit.metrics import new_registry
from kit.net import ListenError, bracketed, is_loopback, listen
from kit.pb import mpc_pb2
from kit.pb.wallet.v1 import operator_pb2, wallet_pb2
from kit.settings import SettingsError
from kit.tls import client_context, server_context
from kit.version import version
from participant.callers import CallerAuth, CallerLimits
from participant.channel import RoomChannel
from participant.errors import NodeError
from participant.gateway_tokens import RoomTokens
from participant.identity import NodeKeys
from participant.node.node import Node
from participant.policy import Policy, RulePolicy
from participant.rooms import RoomsClient
from participant.services.gate import Gate, Lasting, callers_of, operator_at_socket
from participant.services.listener import Limits, Listener
from participant.services.operator import OperatorService
from participant.services.participant import ParticipantService
from participant.services.status import PARTICIPANT_CODES
from participant.services.wallet import WalletService
from participant.store import Store, StoreError
from sign_service.meters import Meters
from sign_service.opening import (
    EXIT_FILES,
    auth_of,
    choose_powers,
    committee_of,
    node_config_of,
    open_store,
    read_shares,
    take_shares,
)
from sign_service.reloading import CallersGate, callers_tls, operators_of, reload_of
from sign_service.settings import NAME, ServiceSettings
from tss.params import Suite

PARTICIPANT = mpc_pb2.DESCRIPTOR.services_by_name["Participant"]
WALLET = wallet_pb2.DESCRIPTOR.services_by_name["Wallet"]
OPERATOR = operator_pb2.DESCRIPTOR.services_by_name["Operator"]

_log = get_logger(__name__)


async def serve(
    settings: ServiceSettings,
    load: Callable[[], ServiceSettings],
    suites: Mapping[str, Suite],
    stop: StopSignal,
) -> None:
    """Runs the daemon until `stop`. `load` reads the settings again. Raises SettingsError, ListenError, CannotStart."""
    async with AsyncExitStack() as stack:
        try:
            service = await _build(settings, load, suites, stack)
        except (SettingsError, ListenError, CannotStart):
            raise
        except NodeError as error:
            raise CannotStart(str(error), EXIT_FILES) from None
        await service.run(stop)


async def _build(
    settings: ServiceSettings,
    load: Callable[[], ServiceSettings],
    suites: Mapping[str, Suite],
    stack: AsyncExitStack,
) -> Service:
    # Everything that can be wrong without a port comes before the first port.
    server_context(settings.tls)
    auth = auth_of(settings)
    _log.info("powers chosen", library=choose_powers(settings))
    store = await asyncio.to_thread(open_store, settings)
    stack.callback(store.close)
    committee = committee_of(settings, store.identity())
    shares = await asyncio.to_thread(read_shares, settings, store, committee, suites)
    context = _gateway_context(settings)
    rooms = _rooms(settings, context, store.identity())
    stack.push_async_callback(rooms.close)
    policy = RulePolicy(settings.policy)
    node = Node(
        node_config_of(settings, committee, version()), store, RoomChannel(rooms), policy, suites=suites
    )
    service = Service(settings, load, suites, auth, policy, store, rooms, context, node)
    stack.push_async_callback(service.close)
    await node.start()
    stack.push_async_callback(node.stop)
    await take_shares(node, shares, committee, settings.mpc.key_share_file)
    return service


def _gateway_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    gateway = settings.gateway
    if not gateway.url.startswith("https://"):
        return None
    return client_context(gateway.ca, gateway.certificate, gateway.key)


def _rooms(settings: ServiceSettings, context: ssl.SSLContext | None, keys: NodeKeys) -> RoomsClient:
    gateway = settings.gateway
    said = False

    def connected() -> None:
        nonlocal said
        if not said:
            said = True
            announce(f"Connected to gateway at {gateway.url}")

    return RoomsClient(gateway.url, tls=context, token=RoomTokens(keys), on_connected=connected)


class Service:
    """The listeners around a node."""

    def __init__(
        self,
        settings: ServiceSettings,
        load: Callable[[], ServiceSettings],
        suites: Mapping[str, Suite],
        auth: CallerAuth,
        policy: Policy,
        store: Store,
        rooms: RoomsClient,
        context: ssl.SSLContext | None,
        node: Node,
    ) -> None:
        """Binds the ports. Raises ListenError, SettingsError."""
        self._settings = settings
        self._auth = auth
        self._policy = policy
        self._store = store
        self._rooms = rooms
        self._node = node
        self._lasting = Lasting()
        registry = new_registry(NAME, version())
        meters = Meters(registry, node, rooms)
        self._health = Health()
        self._health.add("store", self._check_store)
        self._health.add("gateway", self._check_gateway)
        self._health.add("node", self._check_node)
        limits = Limits(settings.server.max_calls, settings.server.max_message_bytes)
        rate = CallerLimits(settings.callers.rate)
        gate = Gate(callers_of(auth), rate, meters.called)
        callers_gate = CallersGate(gate, settings, rate)
        participant = ParticipantService(node, self._lasting)
        wallet = WalletService(node, self._lasting)
        self._callers = Listener(
            [
                (PARTICIPANT.full_name, gate.handler(PARTICIPANT, participant, PARTICIPANT_CODES)),
                (WALLET.full_name, gate.handler(WALLET, wallet)),
            ],
            limits,
        )
        server = settings.server
        self._callers.bind(server.host, server.port, "server.port", callers_tls(settings))
        operator = OperatorService(node, store.identity().card(), suites)
        self._operators: list[Listener] = []
        certified: list[tuple[Listener, Gate]] = []
        socket = settings.operator_socket
        if socket is not None:
            gate = Gate(operator_at_socket, observe=meters.called)
            listener = Listener([(OPERATOR.full_name, gate.handler(OPERATOR, operator))], limits)
            listener.bind_socket(socket)
            self._operators.append(listener)
        if settings.operator.port is not None:
            gate = Gate(callers_of(operators_of(settings)), observe=meters.called)
            listener = Listener([(OPERATOR.full_name, gate.handler(OPERATOR, operator))], limits)
            listener.bind(settings.operator.host, settings.operator.port, "operator.port", settings.tls)
            self._operators.append(listener)
            certified.append((listener, gate))
        self._metrics: HttpServer | None = None
        if settings.metrics.port is not None:
            self._metrics = HttpServer(
                health_app(self._health, registry),
                listen(settings.metrics.host, settings.metrics.port, "metrics.port"),
                limits=HttpLimits(max_connections=64),
            )

        self._reload = reload_of(
            settings,
            load,
            registry,
            callers=self._callers,
            callers_gate=callers_gate,
            operators=certified,
            gateway=context,
        )

    async def run(self, stop: StopSignal) -> None:
        """Serves until `stop`, then drains."""
        self._warn()
        self._reload.install()
        await self._callers.start()
        for listener in self._operators:
            await listener.start()
        if self._metrics is not None:
            await self._metrics.start()
        self._announce()
        await stop.wait()
        _log.info("draining", signal=stop.name)
        self._health.drain()
        seconds = self._settings.server.drain_seconds
        await asyncio.gather(*(listener.stop(seconds) for listener in (self._callers, *self._operators)))
        _log.info("stopped")

    async def close(self) -> None:
        """Ends what is left; idempotent."""
        await asyncio.gather(*(listener.stop(0) for listener in (self._callers, *self._operators)))
        await self._lasting.close()
        if self._metrics is not None:
            await self._metrics.stop(1)

    def _announce(self) -> None:
        settings = self._settings
        grpc = f"{bracketed(settings.server.host)}:{self._callers.port}"
        announce(f"gRPC server on {grpc}")
        if settings.operator_socket is not None:
            announce(f"Operator on unix:{settings.operator_socket}")
        if settings.operator.port is not None:
            announce(f"Operator on {bracketed(settings.operator.host)}:{self._operators[-1].port}")
        if self._metrics is not None:
            announce(f"Listening on http://{bracketed(settings.metrics.host)}:{self._metrics.port}")
        keep_what_is_there()
        _log.info("started", grpc=grpc, identity=self._store.identity().identity, version=version())

    def _warn(self) -> None:
        settings = self._settings
        _log.info("policy", text=self._policy.describe())
        if not settings.policy.rules:
            _log.warning("this node's policy has no rules: it signs nothing. Give it some in policy.rules")
        elif any("*" in rule.accounts and rule.raw_digests for rule in settings.policy.rules):
            _log.warning(
                "THE POLICY SIGNS RAW DIGESTS FOR EVERY ACCOUNT, of which nobody can say what they mean: for development only"
            )
        if not self._auth.configured:
            _log.warning(
                "everybody on this machine may call: neither callers.token_file nor callers.certificates is set"
            )
        elif not settings.tls.enabled and not is_loopback(settings.server.host):
            _log.warning(
                "LISTENING BEYOND THIS MACHINE WITHOUT TLS: tokens and requests can be read on the network; set "
                "tls.certificate and tls.key",
                host=settings.server.host,
            )

    async def _check_store(self) -> str | None:
        try:
            await asyncio.to_thread(self._store.probe)
        except StoreError as error:
            return str(error)
        return None

    async def _check_gateway(self) -> str | None:
        if self._rooms.refused is not None:
            return str(self._rooms.refused)
        if self._rooms.reachable:
            return None
        return f"no connection with the gateway at {self._settings.gateway.url}"

    async def _check_node(self) -> str | None:
        status = self._node.status()
        return None if status.ready else "; ".join(status.warnings) or "the node is not ready"
