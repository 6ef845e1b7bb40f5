"""All of the new settings or none, and what has to wait for a restart by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kit.reload import Reload, differences
from kit.settings import Problem, Section, SettingsError


class Inner(Section):
    live: int = 0
    fixed: int = 0


class Outer(Section):
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    port: int = 0


class Log:
    """What is logged: (level, fields)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda _event, **fields: self.lines.append((level, fields))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr("kit.reload._log", log)
    return log


class World:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.new: Outer | SettingsError = Outer()
        self.applied: list[Any] = []
        self.reload = Reload(Outer(), self._load, self.registry)
        self.reload.part(["inner.live"], lambda new: lambda: self.applied.append(new.inner.live))

    def _load(self) -> Outer:
        if isinstance(self.new, SettingsError):
            raise self.new
        return self.new

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_what_may_change_does_and_the_rest_is_named_each_time(log: Log) -> None:
    world = World()
    world.new = Outer(inner=Inner(live=1, fixed=2), names=("a",), port=3)
    for times in (1, 2):
        log.lines.clear()
        assert world.reload.now()
        assert world.applied == [1] * times
        assert world.reload.settings == Outer(inner=Inner(live=1, fixed=0))
        assert [fields["keys"] for level, fields in log.lines if level == "warning"] == [
            ["inner.fixed", "names", "port"]
        ]
    assert world.value("wallet_mpc_reloads_total", result="ok") == 2
    assert world.value("wallet_mpc_reload_failed") == 0


@pytest.mark.parametrize("broken", ["file", "part"])
def test_what_is_wrong_leaves_everything_as_it_was(log: Log, broken: str) -> None:
    world = World()
    error = SettingsError([Problem("a.yaml", "inner.live", "is a colour")])

    def refuse(new: Outer) -> Callable[[], None]:
        if new.inner.live == 9:
            raise error
        return lambda: None

    world.reload.part([], refuse)
    world.new = error if broken == "file" else Outer(inner=Inner(live=9))
    before = world.reload.settings
    assert not world.reload.now()
    assert world.applied == []
    assert world.reload.settings is before
    assert log.lines == [("error", {"problems": ["a.yaml: inner.live: is a colour"]})]
    assert world.value("wallet_mpc_reload_failed") == 1
    assert world.value("wallet_mpc_reloads_total", result="failed") == 1
    world.new = Outer(inner=Inner(live=4))
    assert world.reload.now()
    assert world.applied == [4]
    assert world.value("wallet_mpc_reload_failed") == 0


def test_differences_are_dotted_keys() -> None:
    assert set(differences(Outer(), Outer(inner=Inner(live=1), names=("b",)))) == {"inner.live", "names"}
    assert not list(differences(Outer(), json_copy(Outer())))


def json_copy(settings: Outer) -> Outer:
    return Outer.model_validate(json.loads(settings.model_dump_json()))
