"""What the main function of every daemon shares: the event loop, signals, and how errors end the process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from kit.logs import get_logger
from kit.net import ListenError
from kit.settings import SettingsError
from kit.tls import refuse_old_tls_in_grpc

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2

SWITCH_SECONDS = 0.0005

GARBAGE_THRESHOLDS = (5_000, 20, 50)

_log = get_logger(__name__)


class CannotStart(Exception):
    """What an operator can mend, in words for him; the daemon ends with `exit_code`."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class StopSignal:
    """Set by SIGTERM or SIGINT; a second one ends the process at once, as if nothing had been installed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.name = ""

    def install(self) -> None:
        """Installs the handlers; call it in the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        self.name = number.name
        self._event.set()
        loop = asyncio.get_running_loop()
        for other in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(other)
            signal.signal(other, signal.SIG_DFL)

    @property
    def received(self) -> bool:
        """Whether a signal came."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Returns when a signal came."""
        await self._event.wait()


def run_daemon(name: str, main: Callable[[StopSignal], Coroutine[Any, Any, None]]) -> int:
    """Runs `main` in a fresh loop until it returns; returns the exit code.

    `main` gets a StopSignal that is installed already and returns after it drained. It imports what uses gRPC, so
    that gRPC finds what `refuse_old_tls_in_grpc` sets. Errors that an operator can mend
    (settings, ports, CannotStart) are one clear text on standard error; anything else is logged with its traceback.
    """
    if not refuse_old_tls_in_grpc():
        _log.warning("gRPC takes TLS 1.2 too: it was imported before run_daemon")

    # Threads that compute hand the interpreter over after so long: the event loop does not wait for the default's 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    # A collection stops everything, and little here is garbage in circles: seldom.
    gc.set_threshold(*GARBAGE_THRESHOLDS)

    async def body() -> None:
        stop = StopSignal()
        stop.install()
        await main(stop)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(body())
    except SettingsError as error:
        complain(name, error)
        return EXIT_SETTINGS
    except ListenError as error:
        complain(name, error)
        return EXIT_FAILED
    except CannotStart as error:
        complain(name, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - logged with its traceback, told by the exit code
        _log.exception("the daemon failed")
        return EXIT_FAILED
    return EXIT_OK


def keep_what_is_there() -> None:
    """Call it once the daemon has started: no later collection looks at what was imported and opened until then."""
    gc.collect()
    gc.freeze()


def complain(name: str, error: Exception) -> None:
    """An error for the operator on standard error, each line under the command's name."""
    for line in str(error).splitlines():
        print(f"{name}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - a command line's answer


def announce(line: str) -> None:
    """A start-up line on standard output, where scripts wait for it."""
    # Nobody listening there is no reason to stop.
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)  # noqa: T201 - a command line's answer
