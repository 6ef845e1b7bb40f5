"""What SIGHUP changes in a running sign-service: log, callers, operators, certificates. Never policy, store or committee."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from kit.logs import configure_logging
from kit.reload import Apply, Reload
from kit.settings import Problem, SettingsError
from kit.tls import TlsSettings, client_context, load_chain
from participant.callers import CallerAuth, CallerLimits
from participant.errors import NodeError
from participant.services.gate import Gate, callers_of
from participant.services.listener import Listener
from sign_service.opening import auth_of
from sign_service.settings import NAME, ServiceSettings


def callers_tls(settings: ServiceSettings) -> TlsSettings:
    """TLS of the callers' listener: it asks for certificates only where callers have some."""
    if settings.callers.certificates:
        return settings.tls
    return settings.tls.model_copy(update={"client_ca": None})


def operators_of(settings: ServiceSettings) -> CallerAuth:
    """Who the certificates of operators are."""
    return CallerAuth(certificates=dict.fromkeys(settings.operator.certificates))


class CallersGate:
    """The callers' gate and its limits, which count on as long as the rate stays what it is."""

    def __init__(self, gate: Gate, settings: ServiceSettings, limits: CallerLimits) -> None:
        self._gate = gate
        self._rate = settings.callers.rate
        self._limits = limits

    def prepare(self, settings: ServiceSettings) -> Apply:
        """Reads tokens again. Raises SettingsError."""
        try:
            auth = auth_of(settings)
        except NodeError as error:
            file = str(settings.callers.token_file)
            raise SettingsError([Problem(file, "callers.token_file", str(error))]) from None

        def apply() -> None:
            if settings.callers.rate != self._rate:
                self._rate, self._limits = settings.callers.rate, CallerLimits(settings.callers.rate)
            self._gate.let_in(callers_of(auth), self._limits)

        return apply


def reload_of(
    settings: ServiceSettings,
    load: Callable[[], ServiceSettings],
    registry: CollectorRegistry,
    *,
    callers: Listener,
    callers_gate: CallersGate,
    operators: Sequence[tuple[Listener, Gate]],
    gateway: ssl.SSLContext | None,
) -> Reload[ServiceSettings]:
    """The `Reload` of a daemon. `operators`: the listeners with certificates; `gateway`: context of the rooms client."""

    def certificate(new: ServiceSettings) -> Apply:
        chain, key = new.gateway.certificate, new.gateway.key
        if gateway is None or chain is None or key is None:
            return lambda: None
        client_context(new.gateway.ca, chain, key)
        return lambda: load_chain(gateway, chain, key)

    def operator(listener: Listener, gate: Gate) -> None:
        def certificates(new: ServiceSettings) -> Apply:
            return lambda: gate.let_in(callers_of(operators_of(new)), None)

        reload.part(["operator.certificates"], certificates)
        tls = listener.tls
        if tls is not None:
            reload.part([], lambda new: tls.prepare(new.tls))

    reload = Reload(settings, load, registry)
    reload.part(["logging"], lambda new: lambda: configure_logging(new.logging, NAME))
    reload.part(["callers.token_file", "callers.certificates", "callers.rate"], callers_gate.prepare)
    tls = callers.tls
    if tls is not None:
        reload.part(["tls"], lambda new: tls.prepare(callers_tls(new)))
    for listener, gate in operators:
        operator(listener, gate)
    reload.part(["gateway.certificate", "gateway.key"], certificate)
    return reload
