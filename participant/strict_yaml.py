"""YAML that reads one way only: no duplicate keys, no anchors, plain types."""

from __future__ import annotations

from typing import Any, Final

import yaml

from kit.settings import YAML_FAILURES

MAX_DEPTH: Final = 16
"""Nesting that is read; the parser itself recurses, and its limit is the process's, not the file's."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what two readers could understand differently."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not taken")
        if self._depth >= MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH}")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        # A scalar or list that is tagged as a mapping is the library's to refuse.
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [self.construct_object(key, deep=True) for key, _ in pairs]
        if len({(type(key), str(key)) for key in keys}) != len(keys):
            raise yaml.YAMLError(f"a key stands twice in one mapping{node.start_mark}")
        return super().construct_mapping(node, deep)


def loads(text: str, maximum: int) -> Any:
    """Parse `text` of at most `maximum` characters. Raises ValueError whose text says what is wrong."""
    if len(text) > maximum:
        raise ValueError(f"it has {len(text)} characters, at most {maximum} are taken")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, *YAML_FAILURES) as error:
        raise ValueError(f"it is not YAML of the kind that is read here: {error}") from None
