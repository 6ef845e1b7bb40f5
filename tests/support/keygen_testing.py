"""mpc-keygen at a level whose primes take a fraction of a second: `python tests/support/keygen_testing.py ARGUMENTS`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from tss_testing import SMALL_SECP

from keygen.console import NAME, Output
from keygen.main import main
from tss.params import Suite

SUITES: dict[str, Suite] = {"secp256k1": SMALL_SECP}


def small_output() -> Output:
    """What `main` takes as obj: the test-size suite in the place of the full one."""
    return Output(suites=SUITES)


if __name__ == "__main__":
    main(prog_name=NAME, obj=small_output())
