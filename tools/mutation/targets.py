"""What is mutated, and which tests have to notice it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKS: Final = r"(.*\.)?_?(verify|check|is_|in_|need|accept|refuse).*"
"""Functions that check something, by their names."""

EVERYTHING: Final = r".*"
"""Also what runs at import: schemas, limits, tables."""


@dataclass(frozen=True)
class Target:
    """Functions of one file, by their qualified names (module level: the empty name), and directories of tests."""

    path: str
    functions: str
    tests: tuple[str, ...]

    def holds(self, function: str) -> bool:
        """Whether a function of the file is mutated."""
        return re.fullmatch(self.functions, function) is not None


_ZK: Final = (
    r"verify|_hold_together|\w*_bound|(Statement|Commitment)\.items|Proof\.\w+|schema|challenge|PRIME_ROUNDS"
)


def _tests(directory: str, names: str) -> tuple[str, ...]:
    return tuple(f"tests/{directory}/test_{name}.py" for name in names.split())


def _of_tss(name: str, functions: str = EVERYTHING, more: str = "") -> Target:
    return Target(f"tss/{name}.py", functions, _tests("tss", f"{Path(name).name} {more}"))


def _of_engine(name: str, tests: str = "") -> Target:
    return Target(f"tss/{name}.py", EVERYTHING, _tests("tss_engine", tests or name))


def _of_cggmp24(name: str, functions: str, tests: str) -> Target:
    return Target(f"tss/cggmp24/{name}.py", functions, _tests("cggmp24", tests))


def _of_payloads(name: str, tests: str) -> Target:
    return Target(f"participant/payloads/{name}.py", EVERYTHING, _tests("payloads", tests))


_PRESIGNING: Final = "presign_checks presign_cheaters presign_mask_cheaters presign_output_cheaters"

# Few files of tests for each: what a module's own tests do not notice is not made good by chance elsewhere.
TARGETS: Final = (
    *(
        Target(f"tss/zk/{name}.py", _ZK, ("tests/zk",))
        for name in ("sch", "elog", "enc_elg", "aff_g", "fac", "mod", "prm", "dec", "aff_g_star")
    ),
    Target("tss/zk/common.py", EVERYTHING, ("tests/zk",)),
    Target("tss/zk/equations.py", r"_AtOnce.*", ("tests/zk",)),
    Target("tss/zk/batch.py", EVERYTHING, ("tests/zk/test_batch.py",)),
    _of_tss("encoding"),
    _of_tss("transcript"),
    _of_tss("params"),
    _of_tss("paillier"),
    _of_tss("ring_pedersen"),
    _of_tss("vss"),
    _of_tss("ecdsa"),
    _of_tss("hd"),
    _of_tss("records", more="records_limits"),
    # Without what decides of speed alone.
    *(
        Target(f"tss/modexp/{name}.py", functions, _tests("tss", tests))
        for name, functions, tests in (
            ("plain", EVERYTHING, "modexp"),
            ("secret", EVERYTHING, "modexp modexp_backends"),
            ("own", EVERYTHING, "modexp_own"),
            ("nonces", EVERYTHING, "modexp_nonces"),
            ("fermat", EVERYTHING, "modexp_fermat"),
            ("products", "power_product|positive|straus", "modexp_products"),
            ("chains", "powers_of|yao|_join", "modexp_products"),
            ("windows", "digits", "modexp_products"),
            ("rings", r"_numbers.*|_pairs.*", "modexp_products"),
            ("tables", EVERYTHING, "modexp_tables"),
            ("backend", "current|choose|using|_named", "modexp_backends"),
            (
                "openssl",
                r"load|_need|OpenSSL\.(power|_power|_prepare|_numbers)|_Numbers\.take",
                "modexp_backends",
            ),
            ("crypto_mb", r"load|_located|CryptoMb\._eight|_Row.*|_fit|need_success", "modexp_backends"),
        )
    ),
    _of_tss("primes", r"is_safe_prime|check_own_primes", "paillier"),
    *(
        Target(f"tss/groups/{name}.py", EVERYTHING, _tests("tss", "groups ecdsa"))
        for name in ("abstract", "secp256k1", "ed25519")
    ),
    _of_engine("envelope", "envelope echo"),
    _of_engine("echo"),
    _of_engine("evidence"),
    _of_engine("proposal"),
    _of_engine("mailbox"),
    _of_engine("echo_rounds", "session_equivocation echo"),
    _of_cggmp24("keygen", CHECKS, "keygen_cheaters keygen_points"),
    _of_cggmp24("aux_info", rf"{CHECKS}|_round3_faults|_fault", "aux_cheaters aux_round3"),
    _of_cggmp24(
        "refresh", rf"{CHECKS}|_check_shares|new_public_shares|_new_share", "refresh refresh_cheaters"
    ),
    _of_cggmp24("reshare", rf"{CHECKS}|Terms.*|new_public_shares", "reshare reshare_cheaters"),
    _of_cggmp24("recover", rf"{CHECKS}|Terms.*|pair_keys", "recover"),
    _of_cggmp24("presign_checks", EVERYTHING, _PRESIGNING),
    _of_cggmp24("presign_verify", EVERYTHING, "presign_verify"),
    _of_cggmp24("identify_checks", EVERYTHING, "identify"),
    _of_cggmp24("identify", CHECKS, "identify"),
    _of_cggmp24(
        "sign",
        CHECKS + r"|combine|_checked_sigma|shown_entropies|sigma_schema",
        "sign_cheaters sign_terms sign_disputes",
    ),
    _of_cggmp24("presignature", EVERYTHING, "presign_checks presignature_states presign"),
    _of_cggmp24("completion", EVERYTHING, "completion"),
    *(
        Target(f"tss/judge/{name}.py", EVERYTHING, ("tests/judge",))
        for name in (
            "aux_info",
            "generic",
            "identification",
            "judging",
            "keygen",
            "presign",
            "proposals",
            "reader",
            "record",
            "signing",
        )
    ),
    *(
        Target(f"tss/judge/{name}.py", EVERYTHING, ("tests/judge", *_tests("cggmp24", tests)))
        for name, tests in (
            ("recover", "recover"),
            ("refresh", "refresh_cheaters"),
            ("reshare", "reshare_cheaters"),
        )
    ),
    *(
        Target(f"tss/{name}.py", functions, _tests("frost", tests))
        for name, functions, tests in (
            ("frost/ciphersuite", EVERYTHING, "frost_vectors bip340_vectors bip340_sign"),
            ("frost/bip340", EVERYTHING, "bip340_vectors bip340_sign"),
            (
                "frost/terms",
                EVERYTHING,
                "frost_vectors frost_sign frost_sign_cheaters bip340_vectors bip340_sign",
            ),
            ("frost/nonces", EVERYTHING, "frost_sign frost_sign_cheaters"),
            ("frost/dkg", CHECKS, "frost_dkg"),
            (
                "frost/sign",
                CHECKS + r"|_exchange|_faults|sign|prepare",
                "frost_sign frost_sign_cheaters bip340_sign",
            ),
            ("judge/frost", EVERYTHING, "frost_judge frost_sign_cheaters frost_dkg"),
        )
    ),
    Target("participant/sharefile.py", EVERYTHING, _tests("participant", "sharefile sharefile_damage")),
    Target("participant/committee.py", EVERYTHING, _tests("participant", "committee")),
    *(
        Target(f"participant/backup/{name}.py", functions, _tests("backup", tests))
        for name, functions, tests in (
            ("backup", EVERYTHING, "backup"),
            ("pve", EVERYTHING, "pve"),
            ("kem", EVERYTHING, "kem"),
            ("ml_kem", r"encapsulate|_key|_unpack", "kem"),
        )
    ),
    Target("participant/node/hello.py", EVERYTHING, _tests("node", "hello")),
    Target(
        "gateway/key_set.py", r"parse_key_set|_key|_coordinate|_no_duplicates", _tests("gateway", "key_set")
    ),
    Target("gateway/tokens.py", EVERYTHING, _tests("gateway", "key_set")),
    Target("gateway/proxies.py", r"parse_.*|client_of|_in", _tests("gateway", "client_address")),
    _of_payloads("strict_json", "strict_json"),
    _of_payloads("fields", "fields"),
    _of_payloads("addresses", "addresses"),
    _of_payloads("message", "message"),
    _of_payloads("payload", "payload_value schnorr_payloads"),
    _of_payloads("schnorr", "schnorr_payloads payload_value"),
    _of_payloads("decoded", "decoded ed25519_payloads schnorr_payloads"),
    _of_payloads("solana", "ed25519_payloads"),
    _of_payloads("ssh", "ed25519_payloads"),
    _of_payloads("bitcoin_transaction", "bitcoin_transaction bitcoin_taproot"),
    _of_payloads("psbt", "psbt"),
    _of_payloads("bitcoin", "bitcoin_checks bitcoin_signing bitcoin_taproot"),
    _of_payloads("bitcoin_keys", "bitcoin_checks bitcoin_signing bitcoin_taproot"),
    _of_payloads("typed_data", "typed_data typed_data_types"),
    _of_payloads("ethereum", "ethereum_bytes ethereum_json"),
)


KEEPING: Final = (("tests/judge",),)
"""Tests that keep whole runs of the protocols, none of them made by the code that is mutated: they are made only once."""


def chosen(words: list[str]) -> list[Target]:
    """The targets whose paths begin with one of `words`; all of them for no words."""
    return [t for t in TARGETS if not words or any(t.path.startswith(word) for word in words)]
