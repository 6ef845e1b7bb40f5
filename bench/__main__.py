"""Measure what the names say, all of it when none is given.

    python -m bench                              # a table, with goals and peers
    python -m bench presign_2_busy aux_2of3
    python -m bench --json sign_stock_cpu        # {"T_ms": ..., "results": {NAME: {"value": ..., "unit": ..., "ratio_T": ...}}}

T is the median time of one gmpy2 power with a 3072-bit odd modulus and a 3072-bit exponent, measured before, between and after; a
ratio is to T as it was around its figure, none where a figure is no time. Times are processor time unless docs/performance.md
says otherwise. The first run searches primes, some minutes, and keeps them in bench/.cache.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Final

from bench import ceremonies, curve, daemons, frost, presigning, signing
from bench.goals import GOALS, PEERS
from bench.measure import Reference, Topic

TOPICS: Final[tuple[Topic, ...]] = (
    *presigning.TOPICS,
    *signing.TOPICS,
    *daemons.TOPICS,
    *ceremonies.TOPICS,
    *curve.TOPICS,
    *frost.TOPICS,
)
NAMES: Final = (
    "presign_2_busy",
    "presign_2_all",
    "presign_2_batch16_busy",
    "presign_2_batch16_all",
    "presign_3_batch16_busy",
    "presign_3_batch16_all",
    "sign_stock_cpu",
    "sign_grpc_stock_p50",
    "sign_grpc_stock_p99",
    "sign_grpc_empty_p50",
    "sign_grpc_empty_busy",
    "sign_grpc_empty_cpu",
    "safe_prime",
    "aux_2of3",
    "loop_gap_p999",
    "rss_1000_accounts",
    "wire_bytes_presign_2",
    "keygen_ec_5",
    "sign_3of5_stock",
    "shamir_split",
    "shamir_combine",
    "zkp_prove",
    "zkp_verify",
    "frost_round1",
    "frost_round2",
    "frost_aggregate",
    "frost_keygen",
)
"""In the order of the table."""


@dataclass(frozen=True)
class Result:
    """A figure; `ratio_T` is None for what is no time."""

    value: float
    unit: str
    ratio_T: float | None


def measure(names: list[str]) -> tuple[float, dict[str, Result]]:
    """(T in milliseconds, results by name), in the order of `names`."""
    everywhere, found = Reference(), {}
    for topic in TOPICS:
        wanted = [name for name in topic.names if name in names]
        if not wanted:
            continue
        print(f"measuring {', '.join(wanted)}", file=sys.stderr, flush=True)
        around = Reference()
        figures = topic.run(around)
        if not around.samples:
            around.sample()
        everywhere.samples += around.samples
        for name in wanted:
            ratio = figures[name] / around.ms if topic.unit == "ms" else None
            found[name] = Result(figures[name], topic.unit, ratio)
    return everywhere.ms, {name: found[name] for name in names}


def table(T_ms: float, results: dict[str, Result]) -> str:
    """For people."""
    lines = [f"T = {T_ms:.2f} ms", "", f"{'':24}{'value':>12} {'':6}{'in T':>8}{'goal':>13}{'beyond':>13}"]
    for name, result in results.items():
        goal = GOALS.get(name)
        unit = "T" if goal and goal.in_T else result.unit
        reach = f"{goal.reach:g} {unit}" if goal else ""
        beyond = f"{goal.beyond:g} {unit}" if goal and goal.beyond else ""
        ratio = "" if result.ratio_T is None else f"{result.ratio_T:.2f}"
        lines.append(f"{name:24}{result.value:12,.3f} {result.unit:6}{ratio:>8}{reach:>13}{beyond:>13}")
        lines += [
            f"  {peer.value:>34,g} {result.unit:6}{peer.name} ({peer.parameters})"
            for peer in PEERS.get(name, ())
        ]
    return "\n".join(lines)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no such figure: {', '.join(unknown)}")
    T_ms, results = measure([name for name in NAMES if name in options.names or not options.names])
    if options.json:
        print(
            json.dumps({"T_ms": T_ms, "results": {name: asdict(result) for name, result in results.items()}})
        )
    else:
        print(table(T_ms, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
