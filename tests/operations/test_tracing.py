"""One signature as one trace: from a caller through node and rounds to the gateway, as a collector sees it; nothing when off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import command, run_process

from gateway.main import main as gateway_main
from kit import tracing
from kit.settings import SettingsError

# Off


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, gateway.service, participant.node.room\n"
        "from kit import tracing\n"
        "tracing.configure(tracing.TracingSettings(), 'a', 'b')\n"
        "with tracing.span('x', room='r'): tracing.note(a=1)\n"
        "assert tracing.headers() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_off_it_makes_no_object() -> None:
    assert tracing.span("a") is tracing.span("b", room="r") is tracing.span_of((), "c")
    assert tracing.within(tracing.here()) is tracing.span("a")
    stages = tracing.Stages()
    stages.enter("one")
    assert stages._open is None
    stages.close()


def test_without_the_extra_the_setting_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"pip install 'wallet-mpc\[tracing\]'"):
        tracing.configure(tracing.TracingSettings(endpoint="http://127.0.0.1:1/v1/traces"), "a", "b")
    file = tmp_path / "gateway.yaml"
    file.write_text("tracing: {endpoint: 'http://127.0.0.1:1/v1/traces'}\n")
    checked = CliRunner().invoke(gateway_main, ["--check", str(file)])
    assert (checked.exit_code, checked.stdout) == (2, "")
    assert "pip install 'wallet-mpc[tracing]'" in checked.stderr


def test_a_collector_that_is_away_harms_nobody(tmp_path: Path) -> None:
    """Nothing listens at the endpoint: the gateway serves, and ends in time."""
    from gateway_testing import running_gateway

    with running_gateway(tmp_path, {"tracing": {"endpoint": "http://127.0.0.1:9/v1/traces"}}) as gateway:
        assert gateway.post("room", "m").status_code == 200
        assert gateway.process.terminate() == 0
        assert "Traceback" not in gateway.process.output


def test_an_endpoint_is_an_address(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("tracing: {endpoint: collector}\n")
    code, process = run_process(command("sign-gateway", "--check", path))
    assert code == 2
    assert "tracing.endpoint: expected http://host:port/v1/traces" in process.output
