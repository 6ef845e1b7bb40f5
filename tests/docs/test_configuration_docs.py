"""The configuration reference and the files in config/ name every key that there is, and no other."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def load_tool() -> Any:
    spec = importlib.util.spec_from_file_location(
        "configuration_reference", ROOT / "tools" / "configuration_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def keys_of(model: type[BaseModel]) -> set[str]:
    """The dotted keys of all plain sections, found without the tool."""
    keys = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys |= {f"{name}.{key}" for key in keys_of(inner)}
        else:
            keys.add(name)
    return keys


def documented(name: str) -> list[str]:
    section = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", DOCUMENT, re.DOTALL)[1]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("name", TOOL.MODELS)
def test_every_key_is_documented_once_and_no_other(name: str) -> None:
    found = documented(name)
    assert len(found) == len(set(found))
    known = keys_of(TOOL.MODELS[name])
    assert known - set(found) == set(), "undocumented: run `make docs`"
    beyond = {
        key
        for key in found
        if not any(key == top or key.startswith((f"{top}.", f"{top}[]")) for top in known)
    }
    assert beyond == set(), "documented, but not there: run `make docs`"


def test_keys_defaults_and_meanings_are_the_settings_own() -> None:
    assert TOOL.renew(DOCUMENT) == DOCUMENT, "run `make docs`"


def test_a_change_of_the_settings_would_be_noticed() -> None:
    class Other(TOOL.GatewaySettings):
        extra: int = 1

    assert keys_of(Other) - set(documented("sign-gateway")) == {"extra"}


def values_of(tree: dict[str, Any], model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    values = {}
    for name, value in tree.items():
        inner = model.model_fields[name].annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            values |= values_of(value, inner, f"{prefix}{name}.")
        else:
            values[prefix + name] = value
    return values


@pytest.mark.parametrize("name", TOOL.MODELS)
def test_the_file_in_config_names_every_key(name: str) -> None:
    tree = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert keys_of(TOOL.MODELS[name]) - values_of(tree, TOOL.MODELS[name]).keys() <= {"policy.note"}
