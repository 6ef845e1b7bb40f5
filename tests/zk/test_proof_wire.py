"""The wire form of every proof: round trip, nothing but the canonical form, nothing too large."""

from __future__ import annotations

from typing import Any

import gmpy2
import pytest
from zk_cases import NAMES, case, field_name, leaves, prove, put, through_wire, verify
from zk_naive import Raw, enc, framed, integer_content

from tss.encoding import Schema, decode, encode
from tss.errors import BadPoint, PeerFault, SchemaViolation
from tss.groups import Point
from tss.params import CGGMP24_SECP256K1

every_proof = pytest.mark.parametrize("name", NAMES)


class TestWire:
    @every_proof
    def test_round_trip(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        proof = through_wire(one, value)
        assert proof == one.module.Proof.from_value(value)
        assert encode(proof.to_value()) == encode(value) == enc(value)
        verify(one, proof.to_value())

    def test_the_largest_legal_integer_fits_under_the_cap(self) -> None:
        """It is fac's v: 2^(l+eps+1) * N0 * N^."""
        level = CGGMP24_SECP256K1.level
        assert level.l + level.eps + 1 + 4 * level.pb < level.max_integer_bits == 6976

    @every_proof
    def test_non_canonical_forms_are_refused(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        schema = one.module.schema(one.suite)
        for path, leaf in leaves(value):
            for label, raw in non_canonical(leaf):
                assert not is_taken(enc(put(value, path, Raw(raw))), schema), (path, label)

    @every_proof
    def test_negative_numbers_where_none_is_legal(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        signed = {
            "enc-elg": {"z1", "z3"},
            "aff-g": {"z1", "z2", "z3", "z4"},
            "fac": {"z1", "z2", "w1", "w2", "v"},
            "dec": {"z", "w"},
            "aff-g*": {"z", "z'"},
        }.get(name, set())
        for path, leaf in leaves(value):
            if isinstance(leaf, Point):
                continue
            negative = encode(put(value, path, -abs(leaf) or -1))
            if field_name(one, path) in signed:
                decode(negative, one.module.schema(one.suite))
            else:
                with pytest.raises(SchemaViolation, match="negative"):
                    decode(negative, one.module.schema(one.suite))

    @every_proof
    def test_wrong_shapes_are_refused(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        schema = one.module.schema(one.suite)
        shapes = [[], value[:-1], [*value, 1], [*value, None], [value], None, 5, b"", "", encode(value)]
        for path, leaf in leaves(value):
            wrong = 1 if isinstance(leaf, Point) else one.suite.group.G
            shapes += [put(value, path, other) for other in (None, b"\x01", "1", [], [leaf], wrong)]
        for shape in shapes:
            with pytest.raises(SchemaViolation):
                decode(encode(shape), schema)
        with pytest.raises(SchemaViolation):
            decode(encode(value) + b"\x00", schema)

    @pytest.mark.attack("A7")
    @pytest.mark.parametrize("name", ["mod", "prm", "dec", "aff-g*"])
    def test_lists_of_another_length_are_refused(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        schema = one.module.schema(one.suite)
        for index, part in enumerate(value):
            if isinstance(part, list):
                for other in ([], part[:1], part[:-1], [*part, part[0]]):
                    with pytest.raises(SchemaViolation):
                        decode(encode(put(value, (index,), other)), schema)


@pytest.mark.attack("B9")
class TestOversize:
    @every_proof
    def test_the_wire_refuses_what_exceeds_the_cap(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        schema = one.module.schema(one.suite)
        cap = one.suite.level.max_integer_bits
        for path, leaf in leaves(value):
            if isinstance(leaf, Point):
                continue
            decode(encode(put(value, path, (1 << cap) - 1)), schema)
            for huge in (1 << cap, 1 << 8_000_000):
                with pytest.raises(SchemaViolation, match="bits are taken"):
                    decode(encode(put(value, path, huge)), schema)

    @every_proof
    def test_the_verifier_refuses_them_before_any_power(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = case(name)
        value = prove(one)

        def no_power(*_: object) -> None:
            raise AssertionError("a power was computed before the checks")

        monkeypatch.setattr(gmpy2, "powmod", no_power)
        monkeypatch.setattr(gmpy2, "powmod_sec", no_power)
        for path, leaf in leaves(value):
            if isinstance(leaf, Point):
                continue
            for huge in (1 << 8_000_000, -(1 << 8_000_000)):
                with pytest.raises(PeerFault) as caught:
                    verify(one, put(value, path, huge))
                assert caught.value.check.startswith(f"{name}:{field_name(one, path)} ")


def is_taken(data: bytes, schema: Schema) -> bool:
    try:
        decode(data, schema)
    except (SchemaViolation, BadPoint):
        return False
    return True


def non_canonical(leaf: Any) -> list[tuple[str, bytes]]:
    """Forms of an integer or a point that are not its canonical one."""
    if isinstance(leaf, Point):
        tag, content = leaf.group.point_tag, leaf.to_bytes()
        return [
            ("parity byte", framed(tag, b"\x05" + content[1:])),
            ("short", framed(tag, content[:-1])),
            ("long", framed(tag, content + b"\x00")),
            ("long identity", framed(tag, bytes(len(content)))),
            ("x too large", framed(tag, content[:1] + b"\xff" * (len(content) - 1))),
            ("tag of the other curve", framed(tag + 1, content)),
        ]
    content = integer_content(int(leaf))
    magnitude = content[1:]
    return [
        ("leading zero", framed(3, content[:1] + b"\x00" + magnitude)),
        ("negative zero", framed(3, b"\x01")),
        ("no sign", framed(3, b"")),
        ("unknown sign", framed(3, b"\x02" + (magnitude or b"\x01"))),
        ("zero with a magnitude", framed(3, b"\x00\x00")),
        ("length beyond the end", framed(3, content)[:1] + b"\xff\xff\xff\xff" + content),
        ("byte string", framed(1, content)),
    ]
