"""How long does it take to refuse a number of a megabyte? Each integer of each message of each protocol is tried.

    python bench/oversized.py            # every field once
    python bench/oversized.py --times 5

The messages are found and sent by the tests' malicious party, at the smallest level: what refuses a number is its length, against a
cap that is smaller there, before anything is computed. Measured is `Session.receive`, by the time that its thread computes, so that
load by others does not count: "refused" is from the envelope to the fault (opening the seal, verifying the signature, decoding up to
the number), "told" is until the complaint with the megabyte in its evidence is signed and ready to be posted. Beside it stands what
must be spent in any case: verifying the signature over a megabyte.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from oversized import RUNS, attempt, fields
from session_testing import Identity

from tss.envelope import verify_signature

BOUND_MS = 10.0


def signature_ms() -> float:
    """Verifying the signature over a megabyte, the median of 15."""
    identity, message = Identity.of("bench"), bytes(1_000_000)
    signature, seconds = identity.sign(message), []
    for _ in range(15):
        began = time.thread_time()
        verify_signature(identity.public, message, signature)
        seconds.append(time.thread_time() - began)
    return statistics.median(seconds) * 1000


def main() -> int:
    """Print a line a protocol and the slowest field; exit code 1 when that is over the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3, help="tries a field; the median counts")
    times = parser.parse_args().times
    print(f"the signature over a megabyte alone: {signature_ms():.1f} ms")
    print(f"{'':<16}{'fields':>8}{'refused, ms':>24}{'told, ms':>24}")
    print(f"{'protocol':<16}{'':>8}{'median':>12}{'max':>12}{'median':>12}{'max':>12}")
    worst = (0.0, "")
    for protocol in RUNS:
        refused, told = {}, {}
        for field in fields(protocol):
            tries = [attempt(field)[1] for _ in range(times)]
            refused[str(field)] = statistics.median(one.found for one in tries) * 1000
            told[str(field)] = statistics.median(one.told for one in tries) * 1000
        slowest = max(refused, key=lambda name: refused[name])
        worst = max(worst, (refused[slowest], slowest))
        columns = [
            statistics.median(refused.values()),
            refused[slowest],
            statistics.median(told.values()),
            max(told.values()),
        ]
        print(f"{protocol:<16}{len(refused):>8}" + "".join(f"{value:>12.1f}" for value in columns))
    print(f"max: {worst[0]:.1f} ms ({worst[1]}), bound {BOUND_MS} ms")
    return int(worst[0] > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
