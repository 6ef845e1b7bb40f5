"""SIGHUP: a daemon reads its settings and the files that they name again, and takes what may change while it runs.

All or nothing: what is wrong with the new settings is found out before anything of them is applied, and then the old ones
stay in force. Keys that only a start can change are named in the log.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import BaseModel

from kit.logs import get_logger
from kit.settings import Section, SettingsError

S = TypeVar("S", bound=Section)
Apply = Callable[[], None]

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Part(Generic[S]):
    keys: tuple[str, ...]
    prepare: Callable[[S], Apply]


class Reload(Generic[S]):
    """What a daemon does at SIGHUP. `settings` are those in force."""

    def __init__(self, settings: S, load: Callable[[], S], registry: CollectorRegistry) -> None:
        """`load` reads the settings as at the start; raises SettingsError."""
        self.settings = settings
        self._load = load
        self._parts: list[_Part[S]] = []
        self._reloads = Counter(
            "wallet_mpc_reloads", "Times that settings were read again.", ["result"], registry=registry
        )
        for result in ("ok", "failed"):
            self._reloads.labels(result)
        self._failed = Gauge(
            "wallet_mpc_reload_failed",
            "1 when the last settings that were read were refused.",
            registry=registry,
        )

    def part(self, keys: Sequence[str], prepare: Callable[[S], Apply]) -> None:
        """`prepare` checks the new values of `keys` (or of all below them) and returns what puts them in force.

        It is called whether they changed or not, for the files that they name may have. It raises SettingsError, and
        changes nothing itself.
        """
        self._parts.append(_Part(tuple(keys), prepare))

    def install(self) -> None:
        """Handles SIGHUP from now on; call it in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.now)

    def now(self) -> bool:
        """Reads the settings again; whether they are in force."""
        try:
            settings = self._load()
            steps = [part.prepare(settings) for part in self._parts]
        except SettingsError as error:
            self._reloads.labels("failed").inc()
            self._failed.set(1)
            problems = [str(problem) for problem in error.problems]
            _log.error("THE NEW SETTINGS CANNOT BE USED, the former ones stay in force", problems=problems)
            return False
        changed = set(differences(self.settings, settings))
        for step in steps:
            step()
        restart = sorted(key for key in changed if not self._is_live(key))
        # Until a restart they differ from what is in force, and are named each time.
        self.settings = _with_old(self.settings, settings, restart)
        self._reloads.labels("ok").inc()
        self._failed.set(0)
        _log.info("settings read again", changed=sorted(changed - set(restart)))
        if restart:
            _log.warning("settings that only a restart brings into force have changed", keys=restart)
        return True

    def _is_live(self, key: str) -> bool:
        return any(key == live or key.startswith(f"{live}.") for part in self._parts for live in part.keys)


def differences(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[str]:
    """The dotted keys whose values differ."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and type(before) is type(after):
            yield from differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name


def _with_old(old: S, new: S, keys: Sequence[str]) -> S:
    """`new` with the old values of `keys`."""
    found = new
    for key in keys:
        found = _put(found, old, key.split("."))
    return found


def _put(into: S, source: BaseModel, path: Sequence[str]) -> S:
    head, *rest = path
    value = getattr(source, head)
    if rest:
        value = _put(getattr(into, head), value, rest)
    return into.model_copy(update={head: value})
