"""The groups: their laws on all of them, strict decoding, foreign vectors, and which library call a secret meets."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import ecdsa
import gmpy2
import pytest
from gmpy2 import mpz
from nacl.bindings import crypto_core_ed25519_add
from tss_testing import TOY, TOY_A, TOY_B, TOY_P, TOY_Q, SeededRng, vectors, vectors_path

from tss import groups
from tss.errors import BadPoint, OutOfDomain, WrongLength
from tss.groups import ED25519, SECP256K1
from tss.rand import scalar

GROUPS = [SECP256K1, ED25519, TOY]
every_group = pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)


def edge_scalars(group):
    q = group.q
    return [
        0,
        1,
        2,
        3,
        q - 2,
        q - 1,
        q,
        q + 1,
        2 * q,
        -1,
        -q,
        (q - 1) // 2,
        (q + 1) // 2,
        1 << (q.bit_length() - 1),
    ]


def by_doubling(k, P):
    """The plain multiplication: nothing but additions."""
    total = P.group.identity
    for bit in f"{k % P.group.q:b}":
        total = total + total
        if bit == "1":
            total = total + P
    return total


@every_group
def test_group_law(group):
    rng, zero = SeededRng(("law", group.name)), group.identity
    for _ in range(10):
        P, Q, R = (group.mul_base(scalar(rng, group.q)) for _ in range(3))
        assert (P + Q) + R == P + (Q + R), rng
        assert P + Q == Q + P
        assert P + zero == P == zero + P
        assert P - P == zero == P + (-P)
        minus_P = -P
        assert -minus_P == P
        assert P - Q == P + (-Q) == -(Q - P)
        assert P + P == 2 * P
    assert zero + zero == zero == -zero == zero - zero
    assert zero.is_identity
    assert not group.G.is_identity


@every_group
def test_three_multiplications_agree_with_plain_addition(group):
    rng = SeededRng(("mul", group.name))
    P = group.mul_base(scalar(rng, group.q))
    for k in [*edge_scalars(group), *(scalar(rng, group.q) for _ in range(20))]:
        assert k * P == group.mul_secret(k, P) == by_doubling(k, P), (k, rng)
        assert k * group.G == group.mul_base(k) == group.mul_secret(k, group.G) == by_doubling(k, group.G), (
            k,
            rng,
        )
        assert mpz(k) * P == k * P
        assert group.mul_secret(mpz(k), P) == k * P
        assert group.mul_base(mpz(k)) == k * group.G
        assert k * group.identity == group.mul_secret(k, group.identity) == group.identity


@every_group
def test_multiplication_is_linear(group):
    rng = SeededRng(("linear", group.name))
    for _ in range(10):
        a, b, p = (scalar(rng, group.q) for _ in range(3))
        P = group.mul_base(p)
        assert a * P + b * P == (a + b) * P, rng
        assert a * (b * P) == group.mul_base(a * b * p), rng


@every_group
def test_order(group):
    assert gmpy2.is_prime(group.q)
    assert group.q * group.G == group.identity
    assert group.mul_base(group.q).is_identity
    assert (group.q - 1) * group.G == -group.G


@every_group
def test_sum(group):
    rng = SeededRng(("sum", group.name))
    points = [group.mul_base(scalar(rng, group.q)) for _ in range(12)]
    total = group.identity
    for P in points:
        total = total + P
    assert group.sum(points) == total
    assert group.sum(iter(points)) == total
    assert group.sum([]) == group.identity
    assert group.sum([points[0]]) == points[0]
    assert group.sum([group.identity]) == group.identity
    assert group.sum([points[0], -points[0]]) == group.identity
    assert group.sum([group.identity, points[0], group.identity, points[1]]) == points[0] + points[1]
    assert group.sum([*points, -total]) == group.identity
    assert group.sum([points[0], points[0], points[0]]) == 3 * points[0]


@every_group
def test_decoding_returns_what_was_encoded(group):
    rng = SeededRng(("decode", group.name))
    for k in [*edge_scalars(group), *(scalar(rng, group.q) for _ in range(20))]:
        P = k * group.G
        decoded = group.decode_point(P.to_bytes())
        assert decoded == P
        assert hash(decoded) == hash(P)
        assert decoded.to_bytes() == P.to_bytes()
        assert decoded.is_identity == (k % group.q == 0)
        assert len(P.to_bytes()) <= group.point_bytes


@every_group
def test_points_are_values(group):
    P = 5 * group.G
    assert P == 5 * group.G
    assert P != 6 * group.G
    assert P != -P
    assert P.to_bytes() != P
    assert len({P, 5 * group.G, 2 * group.G + 3 * group.G, group.identity}) == 2
    assert P.to_bytes().hex() in repr(P)
    assert P.group is group


def test_groups_do_not_mix():
    for P in (SECP256K1.G, ED25519.G, TOY.G, SECP256K1.identity, ED25519.identity, TOY.identity):
        for group in GROUPS:
            if group is P.group:
                continue
            assert group.identity != P
            with pytest.raises(TypeError):
                group.G + P
            with pytest.raises(TypeError):
                group.G - P
            with pytest.raises(TypeError):
                group.mul_secret(5, P)
            with pytest.raises(TypeError):
                group.sum([group.G, P])
            with pytest.raises(TypeError):
                group.sum([P])
            with pytest.raises(TypeError):
                group.x(P)


@every_group
def test_scalars_as_bytes(group):
    size = group.scalar_bytes
    for k in (0, 1, 258, group.q - 1):
        raw = group.scalar_to_bytes(k)
        assert len(raw) == size
        assert group.scalar_from_bytes_checked(raw) == k
        assert group.scalar_from_bytes_wrapping(raw) == k
    assert group.scalar_to_bytes(-1) == group.scalar_to_bytes(group.q - 1)
    order = "little" if group is ED25519 else "big"
    assert group.scalar_to_bytes(258) == (258).to_bytes(size, order)
    for k in (group.q, group.q + 1, (1 << 8 * size) - 1):
        raw = k.to_bytes(size, order)
        with pytest.raises(OutOfDomain):
            group.scalar_from_bytes_checked(raw)
        assert group.scalar_from_bytes_wrapping(raw) == k % group.q
    for raw in (b"", bytes(size - 1), bytes(size + 1), bytes(64)):
        with pytest.raises(WrongLength):
            group.scalar_from_bytes_checked(raw)
    long = SeededRng("wide")(64)
    assert group.scalar_from_bytes_wrapping(long) == int.from_bytes(long, order) % group.q


# secp256k1 -------------------------------------------------------------------------------------------------------------

SECP_P = 2**256 - 2**32 - 977
GX = SECP256K1.G.to_bytes()[1:].hex()
GY = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
BAD_SECP = {
    "empty": "",
    "identity as two bytes": "0000",
    "identity as 33 bytes": "00" * 33,
    "prefix 00": "00" + GX,
    "prefix 01": "01" + GX,
    "prefix 04 with x alone": "04" + GX,
    "prefix ff": "ff" + GX,
    "x only": GX,
    "uncompressed": "04" + GX + GY,
    "hybrid": "06" + GX + GY,
    "one byte short": "02" + GX[:-2],
    "one byte long": "02" + GX + "00",
    "x = 0 has no root": "02" + "00" * 32,
    "x = 5 has no root": "02" + f"{5:064x}",
    "x = p": "02" + f"{SECP_P:064x}",
    "x = p + 1, where 1 is on the curve": "02" + f"{SECP_P + 1:064x}",
    "x = 2^256 - 1": "03" + "ff" * 32,
}


@pytest.mark.attack("C1")
@pytest.mark.parametrize("name", BAD_SECP)
def test_secp256k1_refuses(name):
    with pytest.raises(BadPoint) as refusal:
        SECP256K1.decode_point(bytes.fromhex(BAD_SECP[name]))
    assert refusal.value.peer is None


def test_secp256k1_x_below_p_that_is_on_the_curve_is_taken():
    assert SECP256K1.x(SECP256K1.decode_point(bytes.fromhex("02" + f"{1:064x}"))) == 1


def compressed(raw):
    """The compressed form of a hexadecimal SEC1 point in any form."""
    data = bytes.fromhex(raw)
    return data if len(data) == 33 else bytes([2 + (data[64] & 1)]) + data[1:33]


def test_secp256k1_published_points():
    published = vectors("rfc6979-secp256k1/points.json")
    counts = dict.fromkeys(("isPoint", "add", "multiply", "from scalar"), 0)
    for case in published["valid"]["isPoint"]:
        if len(case["P"]) == 66:
            assert accepted(case["P"]) == case["expected"], case
            counts["isPoint"] += 1
    for case in published["valid"]["pointAdd"]:
        if case["expected"] is not None:
            P, Q = (SECP256K1.decode_point(compressed(case[name])) for name in "PQ")
            expected = SECP256K1.decode_point(compressed(case["expected"]))
            assert P + Q == SECP256K1.sum([Q, P]) == expected, case
            counts["add"] += 1
    for case in published["valid"]["pointMultiply"]:
        P, k = SECP256K1.decode_point(compressed(case["P"])), int(case["d"], 16)
        assert (k * P).to_bytes() == SECP256K1.mul_secret(k, P).to_bytes() == compressed(case["expected"]), (
            case
        )
        counts["multiply"] += 1
    for case in published["valid"]["pointFromScalar"]:
        assert SECP256K1.mul_base(int(case["d"], 16)).to_bytes() == compressed(case["expected"]), case
        counts["from scalar"] += 1
    assert min(counts.values()) >= 6, counts
    for case in published["invalid"]["pointCompress"]:
        assert not accepted(case["P"]), case


def accepted(hexadecimal):
    try:
        SECP256K1.decode_point(bytes.fromhex(hexadecimal))
    except BadPoint:
        return False
    return True


def test_secp256k1_endomorphism_vectors():
    for case in vectors("rfc6979-secp256k1/endomorphism.json"):
        ax, ay, k, cx, cy = (int(case[name]) for name in ("ax", "ay", "scalar", "cx", "cy"))
        P = SECP256K1.decode_point(bytes([2 + (ay & 1)]) + ax.to_bytes(32, "big"))
        for product in (k * P, SECP256K1.mul_secret(k, P)):
            assert (SECP256K1.x(product), SECP256K1.y_is_odd(product)) == (cx, cy & 1 == 1), case["desc"]


def test_secp256k1_ecdh_of_wycheproof():
    """The x coordinate of a secret times a foreign point, with points at the edges of the field."""
    checked = 0
    for case in (t for g in vectors("wycheproof/ecdh_secp256k1_test.json")["testGroups"] for t in g["tests"]):
        public = case["public"]
        head = "3056301006072a8648ce3d020106052b8104000a034200"
        if case["result"] != "valid" or not public.startswith(head + "04"):
            continue
        P = SECP256K1.decode_point(compressed(public[len(head) :]))
        k = int(case["private"], 16)
        assert f"{SECP256K1.x(SECP256K1.mul_secret(k, P)):064x}" == case["shared"], case["tcId"]
        assert f"{SECP256K1.x(k * P):064x}" == case["shared"], case["tcId"]
        checked += 1
    assert checked > 400


def test_secp256k1_against_another_library():
    rng, curve = SeededRng("foreign"), ecdsa.SECP256k1
    for _ in range(20):
        a, b = scalar(rng, SECP256K1.q), scalar(rng, SECP256K1.q)
        A, B = SECP256K1.mul_base(a), SECP256K1.mul_base(b)
        assert A.to_bytes() == (curve.generator * a).to_bytes("compressed"), rng
        assert (A + B).to_bytes() == (curve.generator * a + curve.generator * b).to_bytes("compressed"), rng
        assert A.to_bytes_uncompressed() == (curve.generator * a).to_bytes("uncompressed"), rng
        assert SECP256K1.x(A) == (curve.generator * a).x()
        assert SECP256K1.y_is_odd(A) == bool((curve.generator * a).y() & 1)


@pytest.mark.attack("E2")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_secrets_are_combined_with_public_factors(group):
    """Sums of products mod q, with factors and secrets that are 0, below 0 or above q, and sums that come to 0."""
    q, rng = group.q, SeededRng(("combined", group.name))
    edges = [0, 1, q - 1, q, q + 1, -1, 2]
    for c in edges:
        for s in edges:
            assert group.combine_secrets([(c, s)]) == c * s % q
    for size in (0, 1, 2, 5):
        terms = [(scalar(rng, q), scalar(rng, q)) for _ in range(size)]
        assert group.combine_secrets(terms) == sum(c * s for c, s in terms) % q, rng
    c, s = scalar(rng, q), scalar(rng, q)
    assert group.combine_secrets([(c, s), (-c, s)]) == 0
    assert group.combine_secrets([(c, s), (c, -s), (3, 5)]) == 15
    assert group.combine_secrets([(0, s), (c, s), (c, 0)]) == c * s % q
    assert group.combine_secrets([(c, 0), (c, s)]) == group.combine_secrets([(0, c), (c, s)]) == c * s % q


def test_identity_has_no_coordinates():
    for group in (SECP256K1, TOY):
        with pytest.raises(ValueError, match="O has no"):
            group.x(group.identity)
        with pytest.raises(ValueError, match="O has no"):
            group.y_is_odd(group.identity)
    with pytest.raises(ValueError, match="O has no"):
        SECP256K1.identity.to_bytes_uncompressed()
    for function in (ED25519.x, ED25519.y_is_odd):
        with pytest.raises(TypeError, match="no ECDSA"):
            function(ED25519.G)


class Recorder:
    """Stands before a library and writes down which of its functions are called."""

    def __init__(self, library):
        self._library = library
        self.called = []

    def __getattr__(self, name):
        self.called.append(name)
        return getattr(self._library, name)


@pytest.mark.attack("E2")
def test_secret_scalars_never_meet_the_variable_time_multiplication(monkeypatch):
    module = groups.secp256k1
    recorder = Recorder(module.lib)
    P = 7 * (3 * SECP256K1.G)
    monkeypatch.setattr(module, "lib", recorder)
    SECP256K1.mul_base(5)
    assert recorder.called == ["secp256k1_ec_pubkey_create"]
    recorder.called.clear()
    SECP256K1.mul_secret(5, P)
    assert recorder.called == ["secp256k1_ecdh", "secp256k1_ec_pubkey_parse"]
    recorder.called.clear()
    _ = 5 * P
    assert recorder.called == ["secp256k1_ec_pubkey_tweak_mul"]


def test_a_product_off_the_curve_ends_the_computation(monkeypatch):
    """What the library returns is read back as a point; if that fails, the library or the machine is broken."""

    class Broken(Recorder):
        def secp256k1_ec_pubkey_parse(self, *_):
            return 0

    monkeypatch.setattr(groups.secp256k1, "lib", Broken(groups.secp256k1.lib))
    with pytest.raises(RuntimeError, match="off the curve"):
        SECP256K1.mul_secret(5, SECP256K1.G)


def test_operands_are_left_alone():
    """The library multiplies and negates in place; points are shared."""
    P = 3 * SECP256K1.G
    before = P.to_bytes_uncompressed()
    _ = (-P, 5 * P, SECP256K1.mul_secret(5, P), P + P, SECP256K1.sum([P, P]), P - SECP256K1.G)
    assert P.to_bytes_uncompressed() == before
    G = SECP256K1.decode_point(SECP256K1.G.to_bytes())
    _ = (-SECP256K1.G, 5 * SECP256K1.G)
    assert SECP256K1.G.to_bytes_uncompressed() == G.to_bytes_uncompressed()


@every_group
def test_threads_share_a_group(group):
    P = group.mul_base(12345)
    jobs = list(range(1, 200))
    with ThreadPoolExecutor(4) as pool:
        secret = list(pool.map(lambda k: group.mul_secret(k, P).to_bytes(), jobs))
        base = list(pool.map(lambda k: group.mul_base(12345 * k).to_bytes(), jobs))
    assert secret == base == [(12345 * k * group.G).to_bytes() for k in jobs]


# Ed25519 ---------------------------------------------------------------------------------------------------------------

SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""All points of order 2, 4 and 8; the eighth small-order point is O."""
BAD_ED25519 = {
    **{f"small order {i}": encoding for i, encoding in enumerate(SMALL_ORDER)},
    **{
        f"G plus small order {i}": crypto_core_ed25519_add(
            ED25519.G.to_bytes(), bytes.fromhex(encoding)
        ).hex()
        for i, encoding in enumerate(SMALL_ORDER)
    },
    "empty": "",
    "one byte short": ED25519.G.to_bytes().hex()[:-2],
    "one byte long": ED25519.G.to_bytes().hex() + "00",
    "secp256k1's identity": "00",
    "y = p, that is 0": "ed" + "ff" * 30 + "7f",
    "y = p + 1, that is O": "ee" + "ff" * 30 + "7f",
    "O with the sign bit": "01" + "00" * 30 + "80",
    "y = 2^255 - 1": "ff" * 31 + "7f",
    "y = 2 is not on the curve": "02" + "00" * 31,
}


@pytest.mark.attack("C2")
@pytest.mark.parametrize("name", BAD_ED25519)
def test_ed25519_refuses(name):
    with pytest.raises(BadPoint) as refusal:
        ED25519.decode_point(bytes.fromhex(BAD_ED25519[name]))
    assert refusal.value.peer is None


@pytest.mark.attack("C2")
def test_ed25519_refuses_every_key_of_zip215_but_the_identity():
    """Its 14 keys are the small-order points, canonical or not."""
    keys = {case["vk_bytes"] for case in vectors("ed25519-extra/zip215.json")}
    assert len(keys) == 14
    for key in keys - {"01" + "00" * 31}:
        with pytest.raises(BadPoint):
            ED25519.decode_point(bytes.fromhex(key))


def test_ed25519_invalid_element_of_frost():
    with pytest.raises(BadPoint):
        ED25519.decode_point(
            bytes.fromhex(vectors("frost-zf/frost-ed25519/elements.json")["elements"]["invalid_element"])
        )
    with pytest.raises(BadPoint):
        SECP256K1.decode_point(
            bytes.fromhex(vectors("frost-zf/frost-secp256k1/elements.json")["elements"]["invalid_element"])
        )


def test_ed25519_public_keys_of_the_reference_set():
    lines = vectors_path("ed25519-extra/vectors.txt").read_text().splitlines()[:256]
    assert len(lines) == 256
    for line in lines:
        secret, public = line.split(":")[:2]
        digest = bytearray(hashlib.sha512(bytes.fromhex(secret[:64])).digest()[:32])
        digest[0] &= 248
        digest[31] = digest[31] & 63 | 64
        k = int.from_bytes(digest, "little")
        assert ED25519.mul_base(k).to_bytes().hex() == public
        assert ED25519.mul_secret(k, ED25519.G).to_bytes().hex() == public


def test_ed25519_key_of_rfc_9591():
    inputs = vectors("frost-rfc9591/frost-ed25519-sha512.json")["inputs"]
    secret = ED25519.scalar_from_bytes_checked(bytes.fromhex(inputs["group_secret_key"]))
    key = inputs.get("verifying_key_key") or inputs["group_public_key"]
    assert ED25519.mul_base(secret).to_bytes().hex() == key


# The toy curve ---------------------------------------------------------------------------------------------------------


def test_toy_curve_parameters():
    assert TOY_P % 4 == 3
    assert gmpy2.is_prime(TOY_P)
    assert gmpy2.is_prime(TOY_Q)
    assert TOY_Q < TOY_P < 1 << 32
    assert TOY_Q.bit_length() == 32
    # Inside the interval of Hasse, a prime order that annihilates one point is the order.
    assert abs(TOY_Q - TOY_P - 1) <= 2 * gmpy2.isqrt(TOY_P)
    x, y = TOY.G.affine
    assert (y * y - x**3 - TOY_A * x - TOY_B) % TOY_P == 0
    assert by_doubling(TOY_Q - 1, TOY.G) == -TOY.G


@pytest.mark.parametrize(
    "raw", ["", "00" * 5, "02", "0400000002", "02" + f"{TOY_P:08x}", "02ffffffff", "0200000001"]
)
def test_toy_curve_refuses(raw):
    with pytest.raises(BadPoint):
        TOY.decode_point(bytes.fromhex(raw))


@pytest.mark.parametrize(
    ("group", "name", "tag", "point", "number"),
    [(SECP256K1, "secp256k1", 4, 33, 32), (ED25519, "ed25519", 5, 32, 32)],
)
def test_names_tags_and_lengths_are_those_of_the_encoding(group, name, tag, point, number):
    """protocol.md 0.5 and 0.6: hashes of every session hold them."""
    assert (group.name, group.point_tag, group.point_bytes, group.scalar_bytes) == (name, tag, point, number)


@pytest.mark.parametrize(("bits", "size"), [(8, 1), (9, 2), (16, 2), (17, 3)])
def test_a_scalar_has_as_many_bytes_as_its_order(bits, size):
    class Other(type(TOY)):
        q = (1 << bits) - 1

    assert Other.scalar_bytes.fget(Other) == size


def test_the_identity_of_secp256k1_is_one_zero_byte():
    assert SECP256K1.identity.to_bytes() == b"\0"


def test_points_with_a_name_in_common_hash_by_it_and_their_bytes():
    assert hash(SECP256K1.G) == hash(("secp256k1", SECP256K1.G.to_bytes()))
    assert SECP256K1.G.__eq__(5) is NotImplemented


def test_an_uncompressed_point_has_65_bytes():
    assert len(SECP256K1.G.to_bytes_uncompressed()) == 65
