#!/usr/bin/env python3
"""Writes the tables of docs/configuration.md from the settings' own descriptions.

    tools/configuration_reference.py           writes them (`make docs`)

A test compares what it would write with what stands there.
"""

import json
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from client.settings import MpcConfig
from gateway.settings import GatewaySettings
from sign_service.settings import ServiceSettings

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"
MODELS: dict[str, type[BaseModel]] = {
    "sign-gateway": GatewaySettings,
    "sign-service": ServiceSettings,
    "client": MpcConfig,
}


def _models_in(annotation: Any) -> list[tuple[str, type[BaseModel]]]:
    """The sections that values of this type hold, with what stands behind the key: "", "[]" for items, ".NAME" for entries."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [("", annotation)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [found for argument in arguments for found in _models_in(argument)]
    if origin is list:
        return [("[]" + where, model) for where, model in _models_in(arguments[0])]
    if origin is dict:
        return [(".NAME" + where, model) for where, model in _models_in(arguments[1])]
    return []


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    return "(required)" if value is PydanticUndefined else json.dumps(value, default=str, ensure_ascii=False)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for argument in get_args(annotation) for choice in _choices(argument)]


def _words(field: FieldInfo, what: str) -> str:
    if not field.description:
        raise ValueError(f"{what} has no description")
    text = " ".join(field.description.split())
    choices = _choices(field.annotation)
    if choices and not any(choice in text for choice in choices):
        text = f"{text.rstrip('.')}: {', '.join(choices)}"
    return text.replace("|", "\\|")


def rows(model: type[BaseModel], prefix: str = "", section: Any = None) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of everything that can be set, in the order of the settings.

    `section` holds the defaults where whoever contains this section sets others than its own.
    """
    found: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        key = prefix + name
        default = _default(field) if section is None else getattr(section, name)
        inner = _models_in(field.annotation)
        if not inner or field.description:
            found.append((key, _shown(default), _words(field, key)))
        for where, part in inner:
            found += rows(part, f"{key}{where}.", default if isinstance(default, part) else None)
    return found


def table(model: type[BaseModel]) -> str:
    """The table of one program."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | `{default}` | {words} |" for key, default, words in rows(model)]
    return "\n".join(lines)


def renew(text: str) -> str:
    """The document with every table as it should be."""
    for name, model in MODELS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"the document has not exactly one place for {name}")
        text = pattern.sub(lambda found, model=model: found[1] + table(model) + "\n" + found[2], text)
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(renew(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
