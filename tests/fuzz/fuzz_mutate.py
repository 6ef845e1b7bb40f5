"""Mutations that know ENC (protocol.md 0.5): the tree of values is changed and written with the right lengths again.

So what reaches a decoder is mostly well-formed and wrong in one place. Byte strings that hold ENC themselves (payloads
inside bodies inside envelopes) are opened too. `damaged` is the mutator for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

LIST, HEADER = 6, 5

LEAVES = [
    b"\x07\0\0\0\0", b"\x01\0\0\0\0", b"\x01\0\0\0\x20" + bytes(32), b"\x01\0\0\0\x20" + b"\xff" * 32, b"\x02\0\0\0\0",
    b"\x02\0\0\0\x06holder", b"\x02\0\0\0\x02\xff\xfe", b"\x03\0\0\0\x01\0", b"\x03\0\0\0\x02\0\x01", b"\x03\0\0\0\x02\x01\x01",
    b"\x03\0\0\0\x01\x01", b"\x03\0\0\0\0", b"\x03\0\0\0\x03\0\0\x05", b"\x03\0\0\0\x02\x02\x05", b"\x03\xff\xff\xff\xff",
    b"\x04\0\0\0\x01\0", b"\x04\0\0\0\x05\2\0\0\0\2", b"\x05\0\0\0\x20\1" + bytes(31), b"\x06\0\0\0\x04\0\0\0\0",
    b"\x06\0\0\0\x04\xff\xff\xff\xff", b"\x06\0\0\0\0", b"\x09\0\0\0\0", b"",
]  # fmt: skip
"""Values that are odd somewhere, and bytes that are none."""


@dataclass
class Node:
    """A value: `tag` with bytes, or a list of nodes, or a byte string that holds another value. Raw: bytes as they are."""

    tag: int = 0
    content: bytes = b""
    items: list[Node] | None = None
    inner: Node | None = None
    raw: bytes | None = None
    below: list[Node] = field(default_factory=list, repr=False)


def read(data: bytes, depth: int = 0) -> Node | None:
    """The tree of one value, None for bytes that are none."""
    node, end = _read(data, 0, depth)
    return node if end == len(data) else None


def _read(data: bytes, at: int, depth: int) -> tuple[Node | None, int]:
    if len(data) - at < HEADER or depth > 12:
        return None, -1
    size = int.from_bytes(data[at + 1 : at + HEADER], "big")
    at, end, tag = at + HEADER, at + HEADER + size, data[at]
    if end > len(data):
        return None, -1
    if tag != LIST:
        content = data[at:end]
        inner = read(content, depth + 1) if tag == 1 and content[:1] == b"\x06" else None
        return Node(tag, content, inner=inner), end
    items: list[Node] = []
    at += 4
    while at < end:
        node, at = _read(data, at, depth + 1)
        if node is None:
            return None, -1
        items.append(node)
    return Node(tag, items=items), end


def write(node: Node) -> bytes:
    """The bytes of a tree; lengths and counts fit."""
    if node.raw is not None:
        return node.raw
    if node.items is not None:
        body = len(node.items).to_bytes(4, "big") + b"".join(map(write, node.items))
        return bytes([LIST]) + len(body).to_bytes(4, "big") + body
    content = node.content if node.inner is None else write(node.inner)
    return bytes([node.tag]) + len(content).to_bytes(4, "big") + content


def mutated(data: bytes, rng: Random) -> bytes:
    """The value with one to three of its places changed; bytes that are no value are damaged instead."""
    tree = read(data)
    if tree is None:
        return damaged(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        nodes = _all(tree)
        _change(rng.choice(nodes), nodes, rng)
    return write(tree)


def _all(node: Node) -> list[Node]:
    found, todo = [], [node]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += one.items or []
        if one.inner is not None:
            todo.append(one.inner)
    return found


def _change(node: Node, nodes: list[Node], rng: Random) -> None:
    choice = rng.randrange(8)
    if node.items and choice < 5:
        at = rng.randrange(len(node.items))
        if choice == 0:
            del node.items[at]
        elif choice == 1:
            node.items.insert(at, node.items[at])
        elif choice == 2:
            node.items.reverse()
        elif choice == 3:
            other = rng.randrange(len(node.items))
            node.items[at], node.items[other] = node.items[other], node.items[at]
        else:
            node.items += node.items * rng.randrange(1, 20)
    elif choice == 5:
        node.raw = rng.choice(LEAVES)
    elif choice == 6:
        node.raw = write(rng.choice(nodes))
    elif node.tag == 3 and node.items is None:
        node.content = _number(node.content, rng)
    elif node.inner is None and node.items is None and node.raw is None:
        node.content = damaged(node.content, rng)
    elif choice == 7:
        node.raw = damaged(write(node), rng)


def _number(content: bytes, rng: Random) -> bytes:
    """Another integer: a neighbour, its negative, a bound, or one of many bits."""
    value = int.from_bytes(content[1:], "big") * (-1 if content[:1] == b"\x01" else 1)
    bits = value.bit_length()
    value = rng.choice(
        [
            value + 1, value - 1, -value, 0, 1, -1, 2, value << 1, value >> 1, value ^ (1 << rng.randrange(bits + 1)),
            1 << bits, (1 << bits) - 1, rng.getrandbits(bits + 1), value * value, 1 << rng.choice((31, 63, 64, 256, 6976, 6977)),
        ]
    )  # fmt: skip
    magnitude = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "big")
    return (b"\x01" if value < 0 else b"\0") + magnitude


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with a bit, a byte, a piece or their end changed."""
    if not data:
        return rng.randbytes(rng.randrange(4))
    at, choice = rng.randrange(len(data)), rng.randrange(8)
    if choice == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if choice == 1:
        return data[:at]
    if choice == 2:
        return data + rng.randbytes(rng.randrange(1, 5))
    if choice == 3:
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at + 4 :]
    if choice == 4:
        return data[:at] + data[at + rng.randrange(1, 5) :]
    if choice == 5:
        return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))]) + data[at + 1 :]
    piece = data[at : at + rng.randrange(1, 33)]
    if choice == 6:
        return data[:at] + piece * rng.randrange(2, 9) + data[at:]
    other = rng.randrange(len(data))
    return data[:other] + piece + data[other + len(piece) :]
