"""What is to be reached, and what others reach: data for the table, measured on one machine on 2026-11-21.

T was 11 to 12.6 ms there, 9.0 to 9.7 ms when it was quiet. Peers' times are processor time a party, unless said otherwise, and N is
the Paillier modulus; several take smaller ones than ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Goal:
    """At most this, in T or in the figure's unit."""

    reach: float
    beyond: float | None = None
    in_T: bool = False


@dataclass(frozen=True)
class Peer:
    """What a peer takes, in the figure's unit."""

    name: str
    value: float
    parameters: str


GOALS: Final[dict[str, Goal]] = {
    "presign_2_busy": Goal(15, 12, in_T=True),
    "presign_2_all": Goal(32, 27, in_T=True),
    "presign_2_batch16_busy": Goal(9, 8, in_T=True),
    "presign_2_batch16_all": Goal(25, 20, in_T=True),
    "presign_3_batch16_busy": Goal(18, 16, in_T=True),
    "presign_3_batch16_all": Goal(50, 40, in_T=True),
    "sign_stock_cpu": Goal(1, 0.5),
    "sign_grpc_stock_p50": Goal(10, 6),
    "sign_grpc_stock_p99": Goal(25, 15),
    "safe_prime": Goal(280, 220, in_T=True),
    "aux_2of3": Goal(180, 130, in_T=True),
    "loop_gap_p999": Goal(20, 5),
    "rss_1000_accounts": Goal(300, 150),
    "wire_bytes_presign_2": Goal(24_000, 18_000),
    "keygen_ec_5": Goal(120),
    "sign_3of5_stock": Goal(20),
    "shamir_split": Goal(1.15),
    "shamir_combine": Goal(0.9),
    "zkp_prove": Goal(0.45),
    "zkp_verify": Goal(0.3),
}

_LFDT: Final = "LFDT cggmp24 0.7.0-alpha.3"
_3072: Final = "Rust, GMP, N 3072"
_TABLES: Final = "Rust, GMP, N 3072, tables of 16 s and 1.9 MB"
_OLD: Final = "LFDT cggmp21 0.6.3"
_OLD_TABLES: Final = "Rust, N 3072, older ranges, tables of 11 s and 0.8 MB"
_TAURUS: Final = "taurus multi-party-sig"
_ZF: Final = "ZF frost-ed25519"
_FIREBLOCKS: Final = "fireblocks mpc-lib CMP"
_SMALL: Final = "C++, N 2048, ring-Pedersen 1024"
_ALONE_2: Final = (
    Peer(_LFDT, 1260, _3072),
    Peer(_LFDT, 820, _TABLES),
    Peer(_OLD, 1190, "Rust, N 3072, older ranges"),
    Peer(_OLD, 1060, _OLD_TABLES),
    Peer("synedrion", 4300, "Rust, constant time, N 3072, with the signature"),
    Peer(_TAURUS, 2166, "Go, constant time, N 2048"),
    Peer(_FIREBLOCKS, 401, _SMALL),
)
_BATCH_2: Final = (Peer(_FIREBLOCKS, 288, f"{_SMALL}, batches of 50"), *_ALONE_2[:2])
_BATCH_3: Final = (
    Peer(_LFDT, 1840, f"{_3072}, one at a time"),
    Peer(_OLD, 2440, "Rust, N 3072, older ranges, one at a time"),
    Peer(_OLD, 1500, f"{_OLD_TABLES}, one at a time"),
    Peer(_FIREBLOCKS, 513, f"{_SMALL}, batches of 50"),
)

PEERS: Final[dict[str, tuple[Peer, ...]]] = {
    "presign_2_all": _ALONE_2,
    "presign_2_batch16_all": _BATCH_2,
    "presign_3_batch16_all": _BATCH_3,
    "sign_stock_cpu": (
        Peer(_LFDT, 0.47, "Rust, in memory, without envelopes"),
        Peer(_TAURUS, 1.1, "Go, in memory"),
        Peer(_FIREBLOCKS, 8.2, "C++"),
    ),
    "sign_grpc_empty_p50": (
        Peer("wallet-mpc cluster", 1060, "Rust, cggmp21 0.6.3, N 3072, wall, end to end"),
        Peer("mpcium 0.3.5", 900, "Go, GG18, N 2048, wall, end to end"),
        Peer("cb-mpc MP", 272, "C++, OT instead of Paillier, wall, in process"),
        Peer("bnb tss-lib GG18", 617, "Go, N 2048, wall, in process"),
    ),
    "safe_prime": (
        Peer("LFDT", 13_000, "Rust, random trial, 11 to 15 s"),
        Peer("OpenSSL", 17_000, "mean of 4"),
        Peer("wallet-mpc", 2500, "Rust, as it claims"),
    ),
    "aux_2of3": (Peer(_LFDT, 13_000, f"{_3072}, 12 to 14 s"), Peer(_OLD, 13_400, "Rust, N 3072")),
    "wire_bytes_presign_2": (
        Peer(_LFDT, 43_000, "N 3072"),
        Peer(_OLD, 45_000, "N 3072, older ranges"),
        Peer("DKLs23 (0xCarbon)", 94_000, "OT instead of Paillier, a signature"),
    ),
    "keygen_ec_5": (
        Peer(_LFDT, 34.5, "Rust, 3 of 5: 6.9 ms a party"),
        Peer("cb-mpc MP", 15, "C++, 3.0 ms a party, another number of parties"),
    ),
    "sign_3of5_stock": (Peer(_LFDT, 1.4, "Rust, 0.47 ms a party, in memory, without envelopes"),),
    "frost_round1": (Peer(_ZF, 0.10, "Rust, 2 of 3"),),
    "frost_round2": (Peer(_ZF, 0.17, "Rust, 2 of 3"),),
    "frost_aggregate": (
        Peer(_ZF, 0.29, "Rust, 2 of 3"),
        Peer(_TAURUS, 2.0, "Go, 2 of 3, a whole signature, wall"),
    ),
    "frost_keygen": (Peer(_ZF, 0.95, "Rust, 2 of 3"),),
}
