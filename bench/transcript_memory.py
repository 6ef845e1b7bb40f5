"""What a presignature's transcript costs in memory: `python bench/transcript_memory.py [SIGNERS...]`.

Transcripts hold points, scalars and hashes of secp256k1, so the messages are those of the full level; the moduli in the
session id's list are as short as the testing level's, and counted as if they were full.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cggmp24_testing import Signers
from tss_testing import SMALL_SECP

from tss.params import CGGMP24_SECP256K1

BATCHES = (1, 4, 16)
MODULI = 4
"""N, N^, s, t of each signer."""


def size_of(value: object, seen: set[int]) -> int:
    """Bytes of a value and all that it holds, each object once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, (list, tuple)):
        return size + sum(size_of(item, seen) for item in value)
    return size + sum(size_of(item, seen) for item in getattr(value, "__dict__", {}).values())


def main() -> None:
    extra = (CGGMP24_SECP256K1.level.modulus_bits - SMALL_SECP.level.modulus_bits) // 8
    print("signers  batch  KiB a batch  KiB a presignature")
    for count in map(int, sys.argv[1:] or ("2", "3", "5")):
        signers = Signers(tuple(range(1, count + 1)), count, suite=SMALL_SECP)
        for batch in BATCHES:
            transcript = signers.presign(batch=batch).results()[1][0].transcript
            size = size_of(transcript, {id(SMALL_SECP)}) + MODULI * extra * count
            print(f"{count:7}  {batch:5}  {size / 1024:11.0f}  {size / 1024 / batch:18.1f}", flush=True)


if __name__ == "__main__":
    main()
