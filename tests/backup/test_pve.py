"""Verifiable encryption: honest proofs verify and open, each lie is noticed, and no more can be gained by guessing."""

import pytest
from backup_testing import recovery_key
from tss_testing import TINY, SeededRng

from participant.backup import kem, pve
from participant.backup.errors import BackupInvalid, BackupLocked
from tss.encoding import encode
from tss.groups import ED25519, SECP256K1
from tss.rand import scalar

GROUPS = (SECP256K1, ED25519, TINY.group)


def proved(kind="x25519", context=b"context", seed=0, x=None):
    rng = SeededRng(("pve", kind, seed))
    x = x or [scalar(rng, group.q) for group in GROUPS]
    points = tuple(group.mul_base(x_l) for group, x_l in zip(GROUPS, x, strict=True))
    statement = pve.Statement(context, recovery_key(kind).public, points)
    return statement, x, pve.prove(statement, x, rng)


def rows_of(statement, proof):
    return [list(row) for row in pve._rows(statement, proof)]


@pytest.mark.parametrize("kind", kem.KINDS)
def test_an_honest_proof_verifies_and_its_key_opens_it(kind):
    statement, x, proof = proved(kind)
    pve.verify(statement, proof)
    assert pve.open_(statement, proof, recovery_key(kind)) == x
    with pytest.raises(BackupLocked, match=recovery_key(kind, 1).public.fingerprint):
        pve.open_(statement, proof, recovery_key(kind, 1))


def test_zero_and_the_largest_scalars_are_encrypted_too():
    for x in ([0, 0, 0], [group.q - 1 for group in GROUPS]):
        statement, _, proof = proved(x=x)
        pve.verify(statement, proof)
        assert pve.open_(statement, proof, recovery_key("x25519")) == x


def test_a_proof_is_for_its_context_key_and_points():
    statement, x, proof = proved()
    others = [
        pve.Statement(b"another", statement.key, statement.points),
        pve.Statement(statement.context, recovery_key("x25519", 1).public, statement.points),
        pve.Statement(
            statement.context, statement.key, (SECP256K1.mul_base(x[0] + 1), *statement.points[1:])
        ),
        pve.Statement(statement.context, statement.key, statement.points[:2]),
        pve.Statement(statement.context, recovery_key("p256").public, statement.points),
    ]
    for other in others:
        with pytest.raises(BackupInvalid):
            pve.verify(other, proof)


def test_every_row_and_field_is_checked():
    statement, _, proof = proved()
    rows = rows_of(statement, proof)
    for number in range(0, pve.ROWS, 7):
        row = rows[number]
        for place in range(1, 4):
            if not row[place]:
                continue
            changed = [list(one) for one in rows]
            changed[number][place] = row[place][:-1] + bytes([row[place][-1] ^ 1])
            with pytest.raises(BackupInvalid):
                pve.verify(statement, encode(changed))


def test_lists_of_another_length_and_bits_of_another_value_are_refused():
    statement, _, proof = proved()
    rows = rows_of(statement, proof)
    one = next(number for number, row in enumerate(rows) if row[0] == 1)
    zero = next(number for number, row in enumerate(rows) if row[0] == 0)
    wrong = [rows[:-1], [*rows, rows[0]], []]
    for number, fields in (
        (one, {0: 0}), (zero, {0: 1}), (one, {2: b""}), (zero, {2: bytes(96)}), (one, {3: rows[one][3] + b"\0"}),
        (zero, {3: rows[zero][3][:-1]}), (zero, {1: bytes(31)}), (one, {2: rows[one][2] + bytes(32)}),
        (one, {2: b"\xff" * 96}),
    ):  # fmt: skip
        changed = [list(row) for row in rows]
        for place, value in fields.items():
            changed[number][place] = value
        wrong.append(changed)
    for changed in wrong:
        with pytest.raises(BackupInvalid):
            pve.verify(statement, encode(changed))
    with pytest.raises(BackupInvalid):
        pve.verify(statement, proof + b"\0")


class Cheater:
    """Proves like `prove`, with one half of some rows encrypting nonsense; rewinds until the challenge spares those."""

    def __init__(self, statement, x):
        self.statement, self.x = statement, x

    def prove(self, bad_rows, half, rng, added=0):
        statement = self.statement
        points = statement.points
        seeds = [(rng(32), rng(32)) for _ in range(pve.ROWS)]
        a = [pve._scalars(seed, statement) for seed, _ in seeds]
        b = [
            pve._pack([(x - a_l) % p.group.q for x, a_l, p in zip(self.x, row, points, strict=True)])
            for row in a
        ]
        A = [[p.group.mul_base(a_l) for a_l, p in zip(row, points, strict=True)] for row in a]
        if added:
            # The same scalar modulo the order of the second group, in a longer form.
            b = [
                one[:32] + (int.from_bytes(one[32:64], "big") + added).to_bytes(32, "big") + one[64:]
                for one in b
            ]
        c0 = [pve._encrypt(statement, 0, seed, seed) for seed, _ in seeds]
        c1 = [pve._encrypt(statement, 1, seed, plain) for (_, seed), plain in zip(seeds, b, strict=True)]
        for row in bad_rows:
            (c0 if half == 0 else c1)[row] = rng(len((c0 if half == 0 else c1)[row]))
        bits = pve._challenge(statement, A, c0, c1)
        return encode(
            [
                [1, seeds[row][1], b[row], c0[row]] if bit else [0, seeds[row][0], b"", c1[row]]
                for row, bit in enumerate(bits)
            ]
        )


def test_a_cheater_is_found_unless_every_false_row_is_spared_and_the_rest_still_opens():
    statement, x, _ = proved()
    rng = SeededRng("cheater")
    cheater = Cheater(statement, x)
    with pytest.raises(BackupInvalid):
        pve.verify(statement, cheater.prove(range(pve.ROWS), 0, rng))
    passed = 0
    for _ in range(12):
        proof = cheater.prove((5, 77), 1, rng)
        try:
            pve.verify(statement, proof)
        except BackupInvalid:
            continue
        passed += 1
        # Two rows are nonsense to whoever decrypts; any other gives x.
        assert pve.open_(statement, proof, recovery_key("x25519")) == x
    assert 0 < passed < 12


def test_a_scalar_that_is_not_reduced_is_refused():
    statement, x, _ = proved()
    rng = SeededRng("unreduced")
    pve.verify(statement, Cheater(statement, x).prove((), 0, rng))
    with pytest.raises(BackupInvalid, match="out of range"):
        pve.verify(statement, Cheater(statement, x).prove((), 0, rng, added=ED25519.q))


def test_bits_take_both_values_in_every_row():
    seen = [set() for _ in range(pve.ROWS)]
    rng = SeededRng("bits")
    statement, _, _ = proved()
    while any(len(one) < 2 for one in seen):
        bits = pve._challenge(statement, [], [rng(8)], [])
        for one, bit in zip(seen, bits, strict=True):
            one.add(bit)


def test_what_an_opened_row_shows_tells_nothing_of_x():
    """The opened half of a row is drawn before x is used: with the same coins it is the same for every x."""
    statement, x, proof = proved(seed="hiding")
    other_x = [(one + 1) % group.q for one, group in zip(x, GROUPS, strict=True)]
    other_statement, _, other = proved(seed="hiding", x=[*other_x])
    first, second = rows_of(statement, proof), rows_of(other_statement, other)
    opened = [(p[1], q[1]) for p, q in zip(first, second, strict=True) if p[0] == q[0] == 0]
    assert opened
    assert len({row[1] for row in first}) == pve.ROWS


def test_a_row_of_either_kind_alone_opens_and_a_wrong_one_is_passed_over():
    """As in a proof that was made to spare one row; opening looks at no challenge."""
    statement, x, proof = proved()
    rows, key = rows_of(statement, proof), recovery_key("x25519")
    for bit in (0, 1):
        alone = [row if row[0] == bit else [*row[:3], bytes(len(row[3]))] for row in rows]
        assert pve.open_(statement, encode(alone), key) == x
        wrong = next(number for number, row in enumerate(rows) if row[0] == bit)
        place = 2 if bit else 1
        last = rows[wrong][place]
        told = [*rows[wrong][:place], last[:-1] + bytes([last[-1] ^ 1]), *rows[wrong][place + 1 :]]
        assert pve.open_(statement, encode([told, *alone[1:]]), key) == x


def test_a_scalar_that_is_the_order_is_out_of_range():
    statement, _, _ = proved()
    orders = [group.q for group in GROUPS]
    least = b"".join((q - 1).to_bytes(pve.SCALAR_BYTES, "big") for q in orders)
    assert pve._unpack(least, statement) == [q - 1 for q in orders]
    for q in orders:
        with pytest.raises(BackupInvalid, match="out of range"):
            pve._unpack(least.replace((q - 1).to_bytes(32, "big"), q.to_bytes(32, "big")), statement)
