"""What finding a cheater costs: the two proofs of identification at full parameters (m = 128), by the processor's time.

    python bench/identification.py

Each signer makes one aff-g* for every other signer and one dec, and verifies all those of the others: with t signers (t-1) aff-g*
and one dec are made, (t-1)^2 aff-g* and t-1 dec are verified. The statements come from the tests; the first run searches primes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from zk_cases import case, prove, verify

from tss.params import CGGMP24_SECP256K1

SIGNERS = (2, 3, 5)


def main() -> None:
    """Print the seconds of each proof, and of a signer among 2, 3 and 5."""
    seconds: dict[str, tuple[float, float]] = {}
    for name in ("aff-g*", "dec"):
        one = case(name, CGGMP24_SECP256K1)
        began = time.thread_time()
        value = prove(one)
        proven = time.thread_time()
        verify(one, value)
        seconds[name] = proven - began, time.thread_time() - proven
        print(f"{name:<8}prove {seconds[name][0]:5.1f} s   verify {seconds[name][1]:5.1f} s", flush=True)
    (affine, affine_verified), (dec, dec_verified) = seconds["aff-g*"], seconds["dec"]
    for t in SIGNERS:
        made = (t - 1) * affine + dec
        verified = (t - 1) ** 2 * affine_verified + (t - 1) * dec_verified
        print(f"a signer among {t}: {made:.0f} s of proving, {verified:.0f} s of verifying")


if __name__ == "__main__":
    main()
