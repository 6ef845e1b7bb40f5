"""Share files for tests."""

import json

from node_testing import aux_sets, deal
from tss_testing import SMALL_SECP, TINY

from participant.sharefile import ShareEntry, parse_share_file
from tss.params import CGGMP24_SECP256K1

SUITES = {"toy32": TINY, "secp256k1": SMALL_SECP}
PATH_ID = "m/44'/60'/0'/0/0"


def entry(account_id="a", seed=0, party=0, suite=TINY, *, aux=True):
    return ShareEntry(
        account_id, deal(suite, seed=seed)[party], aux_sets(suite)[party] if aux else None, foreign=False
    )


def foreign(party=0, t=2, n=3, suite=CGGMP24_SECP256K1):
    """A share as wallet-mpc's key-gen writes it, built from its description and not by our encoder."""
    share = deal(suite, t, n)[party]
    number = {"radix": 16, "value": "ab"}
    return {
        "core": {
            "curve": "secp256k1",
            "i": party,
            "shared_public_key": share.X.to_bytes().hex(),
            "public_shares": [share.public_shares[i].to_bytes().hex() for i in range(1, n + 1)],
            "vss_setup": {"min_signers": t, "I": [f"{i:064x}" for i in range(1, n + 1)]},
            "chain_code": share.chain_code.hex(),
            "x": f"{share.x:064x}",
        },
        "aux": {"p": number, "q": number, "parties": [{"N": number, "s": number, "t": number}] * n},
    }


def parse(content, unlock=None, suites=SUITES):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parse_share_file(data, "shares.json", unlock, suites)
