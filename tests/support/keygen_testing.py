"""mpc-keygen at a level whose primes take a fraction of a second.

As a process: `python tests/support/keygen_testing.py ARGUMENTS`; in a test: `invoke(...)`. The installed command has no way to
this level.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from click.testing import CliRunner
from tss_testing import SMALL_SECP

from keygen.console import NAME, Output
from keygen.main import main
from tss.params import Suite

SUITES: dict[str, Suite] = {"secp256k1": SMALL_SECP}


def small_output() -> Output:
    """What `main` takes as obj: the test-size suite in the place of the full one."""
    return Output(suites=SUITES)


def keygen_argv(*arguments: str | os.PathLike[str]) -> list[str]:
    """argv of a real process of its own."""
    return [sys.executable, str(Path(__file__).resolve()), *map(os.fspath, arguments)]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of --json, which stands on the last line of standard error."""
        return json.loads(self.err.splitlines()[-1])["error"]


def invoke(*arguments: str | os.PathLike[str], stdin: bytes = b"", full_size: bool = False) -> Ran:
    """Run one command in this process. An exception that the command does not expect is raised here."""
    obj = Output() if full_size else small_output()
    result = CliRunner().invoke(
        main, [os.fspath(argument) for argument in arguments], input=stdin, obj=obj, prog_name=NAME
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def succeeds(*arguments: str | os.PathLike[str], stdin: bytes = b"", full_size: bool = False) -> Ran:
    """`invoke`, which has to end well."""
    ran = invoke(*arguments, stdin=stdin, full_size=full_size)
    assert ran.code == 0, ran
    return ran


def fails(code: int, *arguments: str | os.PathLike[str], stdin: bytes = b"") -> Ran:
    """`invoke`, which has to end with `code`, nothing on standard output, and at least one line for people."""
    ran = invoke(*arguments, stdin=stdin)
    assert ran.code == code, ran
    assert ran.out == "", ran
    assert ran.err.strip(), ran
    return ran


def secret_file(path: Path, text: str) -> Path:
    """A file of mode 0600."""
    path.write_text(text)
    path.chmod(0o600)
    return path


def spellings(secret: int | bytes, size: int = 32) -> list[str]:
    """How a secret number might show itself: hexadecimal with and without leading zeros, decimal, as a list of bytes."""
    number = secret if isinstance(secret, int) else int.from_bytes(secret, "big")
    data = number.to_bytes(max(size, (number.bit_length() + 7) // 8), "big")
    return [f"{number:x}", data.hex(), data.hex().upper(), str(number), str(list(data)), repr(data)]


def assert_absent(secrets: Iterable[int | bytes], *texts: str) -> None:
    """Fail when a text shows one of the secrets, without showing it here."""
    for number, secret in enumerate(secrets):
        for spelling in spellings(secret):
            for text in texts:
                assert spelling not in text, f"secret {number} is shown"


if __name__ == "__main__":
    main(prog_name=NAME, obj=small_output())
