"""A process that searches safe primes and writes them to its standard output until its parent closes its input or dies.

Started as `python -m participant.node.prime_worker BITS NICENESS` by `participant.node.primes`. Each line is "p HEX" for a
prime or "t COUNT" for candidates tested since the last line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from kit.hardening import forbid_memory_dumps
from tss.primes import search_safe_prime


def _end_with_parent() -> None:
    # The pipe's other end is closed by whatever ends the parent, kill -9 included.
    sys.stdin.buffer.read()
    os._exit(0)


def _tested(count: int) -> None:
    sys.stdout.write(f"t {count}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Search for ever. `arguments`: the primes' size in bits, and the niceness to run with."""
    forbid_memory_dumps()
    # A terminal's Ctrl-C is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bits, niceness = (int(argument) for argument in arguments)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(niceness)
    while True:
        prime = search_safe_prime(bits, os.urandom, _tested)
        sys.stdout.write(f"p {prime:x}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
