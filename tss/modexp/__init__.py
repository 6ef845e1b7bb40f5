"""Every big modular power of the project goes through here.

`powmod` is for exponents that are public, `powmod_secret` for those that are not (security.md E2 in short: a secret exponent
that lives long meets only a constant-time power, and neither a table nor a squaring chain shared with another). The owner of a
modulus uses `OwnModulus`, which computes modulo its primes, always in constant time. `power_product`, `powers_of` and
`FixedBase` are for exponents that are public or drawn for one use. A long power frees the interpreter lock when the calling
thread has set gmpy2's `allow_release_gil`.
"""

from tss.modexp.chains import powers_of
from tss.modexp.fermat import pass_fermat
from tss.modexp.nonces import OwnNonces
from tss.modexp.own import OwnModulus
from tss.modexp.plain import check_unit, inverse, powmod
from tss.modexp.products import power_product
from tss.modexp.secret import powers_secret_list, powmod_secret
from tss.modexp.tables import FixedBase

__all__ = [
    "FixedBase",
    "OwnModulus",
    "OwnNonces",
    "check_unit",
    "inverse",
    "pass_fermat",
    "power_product",
    "powers_of",
    "powers_secret_list",
    "powmod",
    "powmod_secret",
]
