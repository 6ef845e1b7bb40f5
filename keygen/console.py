"""What a command says: results on standard output, everything else on standard error, JSON when asked for.

Nothing secret is ever handed to this module.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from keygen.errors import EXPECTED, Exit, exit_code_of, reason_of, text_of
from participant.sharefile import SUITES
from tss.params import Suite

NAME: Final = "mpc-keygen"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Output:
    """How this run talks, and at which level its cryptography works: the full one, wherever it was installed from."""

    suites: Mapping[str, Suite] = field(default_factory=lambda: SUITES)
    as_json: bool = False
    warnings: list[str] = field(default_factory=list)

    def result(self, value: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The outcome: one JSON object, or lines for people."""
        if self.as_json:
            content = dict(value)
            if self.warnings:
                content["warnings"] = self.warnings
            click.echo(json.dumps(content, ensure_ascii=False))
            return
        for line in lines:
            click.echo(line)

    def say(self, text: str) -> None:
        """A remark beside the result."""
        if not self.as_json:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Something that must not be overlooked: on standard error, and in the JSON object."""
        self.warnings.append(text)
        click.secho(f"WARNING: {text}", err=True, fg="red", bold=True)

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Bar]:
        """A bar on a terminal; elsewhere a line a step; with --json nothing."""
        console = Console(stderr=True)
        if self.as_json or not console.is_terminal:
            yield Bar(title, quiet=self.as_json)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as shown:
            yield RichBar(title, shown)


class Bar:
    """Progress as plain lines: one whenever the text changes."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._last = ""

    def update(self, done: float, total: float, text: str = "", detail: str = "") -> None:
        """`total` 0 = not known. `detail` changes too often to be a line of its own."""
        del done, total, detail
        if text != self._last and not self._quiet:
            click.echo(f"{self._title}: {text}" if text else self._title, err=True)
        self._last = text


class RichBar(Bar):
    """Progress as a bar that moves."""

    def __init__(self, title: str, progress: Progress) -> None:
        super().__init__(title)
        self._progress = progress
        self._task: TaskID = progress.add_task(title, total=None)

    def update(self, done: float, total: float, text: str = "", detail: str = "") -> None:
        """See `Bar.update`."""
        description = ": ".join(filter(None, (self._title, text))) + (f", {detail}" if detail else "")
        self._progress.update(self._task, description=description, completed=done, total=total or None)


class Commands(click.Group):
    """A group whose commands' errors end in one text and one exit code each, and which loads only the one that runs."""

    def __init__(self, *arguments: Any, places: Mapping[str, str], **options: Any) -> None:
        """`places`: each command's name, and the module whose COMMANDS has it."""
        super().__init__(*arguments, **options)
        # Names are all that click looks at here.
        self.commands = {name: click.Command(name) for name in places}
        self._places = places

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module."""
        del ctx
        if cmd_name not in self._places:
            return None
        commands: Iterable[click.Command] = importlib.import_module(self._places[cmd_name]).COMMANDS
        return next(command for command in commands if command.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises on purpose becomes its end."""
        try:
            with _ended_by_signals():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("INTERRUPTED", Exit.INTERRUPTED, "interrupted; what was not finished was not kept")
            ctx.exit(Exit.INTERRUPTED)
        except click.UsageError as error:
            if not output().as_json:
                raise
            complain("USAGE", Exit.USAGE, error.format_message())
            ctx.exit(Exit.USAGE)
        except EXPECTED as error:
            complain(reason_of(error), exit_code_of(error), text_of(error))
            ctx.exit(exit_code_of(error))


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end a command as Ctrl-C does: with everything half-made removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    former = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)


def complain(reason: str, exit_code: Exit, text: str) -> None:
    """On standard error, each line under the command's name; with --json as one object."""
    if output().as_json:
        error = {"reason": reason, "exit_code": int(exit_code), "text": text}
        click.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)
        return
    for line in text.splitlines():
        click.echo(f"{NAME}: {line}", err=True)


def output() -> Output:
    """Of the command that runs."""
    return click.get_current_context().ensure_object(Output)


def _set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    ctx.ensure_object(Output).as_json = value


def json_option(command: F) -> F:
    """Adds --json to a command."""
    option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_json,
        help="Print one JSON object on standard output; an error is one on standard error.",
    )
    return option(command)


def moment(seconds: int) -> str:
    """A time of the wall clock (seconds since 1970) for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def grouped(data: bytes, size: int = 4) -> str:
    """Hexadecimal digits in groups, to be read out and compared by voice."""
    digits = data.hex()
    return " ".join(digits[i : i + size] for i in range(0, len(digits), size))
