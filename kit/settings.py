"""Settings: built-in defaults < YAML file < environment, checked as a whole before anything starts.

    class ServerSettings(Section):
        host: str = "127.0.0.1"
        port: int = Field(8080, ge=0, le=65535)

    class GatewaySettings(Section):
        server: ServerSettings = ServerSettings()

    settings = load_settings(GatewaySettings, Path("config/sign-gateway.yaml"), None, "SIGN_GATEWAY")

`SIGN_GATEWAY__SERVER__PORT=0` wins over `server.port` of the file. What is wrong is said all at once, each with the
file or variable, the key, what was expected, and the key that was probably meant. Secrets are never settings:
settings hold the paths of the files that hold them (`read_secret`).
"""

from __future__ import annotations

import difflib
import os
import re
import types
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

_SECRET_NAME = re.compile(r"pass(word|phrase)?$|secret|token$|private", re.IGNORECASE)
_MAX_SHOWN = 60

# What PyYAML fails with, its own errors aside, where a scalar is not what its tag says: `!!int ""`, `2001-99-99`, or
# where a file is nested too deeply.
YAML_FAILURES = (ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)

type_of_section = TypeVar("type_of_section", bound="Section")


class Section(BaseModel):
    """A group of settings: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _beside(path: Path, info: ValidationInfo) -> Path:
    directory = (info.context or {}).get("directory")
    return path if directory is None or path.is_absolute() else directory / path


# A path in a settings file that is relative to that file, so that a node's directory can be moved as a whole.
PathBesideFile = Annotated[Path, AfterValidator(_beside)]


def _beside_or_here(path: Path, info: ValidationInfo) -> Path:
    beside = _beside(path, info)
    return path if not beside.exists() and path.exists() else beside


# The same where users have files that name a path from the working directory: that one is taken when there is none beside.
PathBesideFileOrHere = Annotated[Path, AfterValidator(_beside_or_here)]


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where it stands (file or variable), which key, what was expected instead."""

    source: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.what}" if self.key else f"{self.source}: {self.what}"


class SettingsError(Exception):
    """The settings cannot be used; nothing was started. The text lists every problem, a line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class _NoDuplicates(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Builds the mapping of `node`; raises ConstructorError on a repeated key."""
        seen: set[Hashable] = set()
        # A scalar or list that is tagged as a mapping is the library's to refuse.
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def settings_file(default_path: Path, argv_path: Path | None) -> Path | None:
    """The file that `load_settings` reads: the named one, else the default one if it exists, else None."""
    if argv_path is not None:
        return argv_path
    return default_path if default_path.exists() else None


def load_settings(
    model: type[type_of_section],
    default_path: Path,
    argv_path: Path | None,
    env_prefix: str,
    *,
    env_aliases: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> type_of_section:
    """Reads, merges and checks the settings.

    Args:
        model: the root section.
        default_path: read if it exists and `argv_path` is None.
        argv_path: the file named on the command line; must exist.
        env_prefix: such as "SIGN_GATEWAY"; `__` stands between it and each level of a key.
        env_aliases: further variables and the key that each sets, such as {"SIGN_SERVICE_KEY_SHARE_FILE":
            "mpc.key_share_file"}; a variable with the prefix wins over its alias.
        environ: for tests; the process's environment by default.

    Raises:
        SettingsError: with every problem in the file and the environment.
    """
    environ = os.environ if environ is None else environ
    path = settings_file(default_path, argv_path)
    tree = _read_file(path) if path is not None else {}
    problems: list[Problem] = []
    variables: dict[tuple[str, ...], str] = {}
    for name, key in (env_aliases or {}).items():
        if environ.get(name):
            _put(model, tree, tuple(key.split(".")), environ[name], name, variables, problems)
    start = env_prefix + "__"
    for name in sorted(environ):
        if name.upper().startswith(start):
            location = tuple(part.lower() for part in name[len(start) :].split("__"))
            _put(model, tree, location, environ[name], name, variables, problems)
    try:
        settings = model.model_validate(
            tree, context={"directory": path.parent if path is not None else None}
        )
    except ValidationError as error:
        file = str(path) if path is not None else "settings"
        problems += [_explain(model, details, file, variables) for details in error.errors(include_url=False)]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def read_secret(path: Path, what: str) -> bytes:
    """The content of a secret's file without its last newline.

    Raises:
        SettingsError: the file cannot be read, is empty, or may be read by every user of the machine.
    """
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes()
    except OSError as error:
        raise SettingsError([Problem(str(path), "", f"cannot read {what}: {error.strerror}")]) from None
    if mode & 0o007:
        text = f"{what} may be read by every user of this machine (mode {mode & 0o777:04o}): chmod 600 {path}"
        raise SettingsError([Problem(str(path), "", text)])
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise SettingsError([Problem(str(path), "", f"{what} is empty")])
    return secret


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError([Problem(str(path), "", "there is no such settings file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError([Problem(str(path), "", f"cannot read the settings file: {what}")]) from None
    try:
        tree = yaml.load(text, _NoDuplicates)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "cannot be parsed"
        raise SettingsError([Problem(f"{path}{line}", "", f"not valid YAML: {what}")]) from None
    except YAML_FAILURES as error:
        text = f"not valid YAML: a value is not what it looks like or is tagged as ({error})"
        raise SettingsError([Problem(str(path), "", text)]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError([Problem(str(path), "", "expected keys and values, such as `server:`")])
    return tree


def _put(
    model: type[Section],
    tree: dict[str, Any],
    location: tuple[str, ...],
    text: str,
    name: str,
    variables: dict[tuple[str, ...], str],
    problems: list[Problem],
) -> None:
    """Sets one variable's value in `tree`."""
    annotation = _annotation(model, location)
    if annotation is None:
        problems.append(Problem(name, "", _unknown(model, location)))
        return
    node = tree
    for part in location[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            child = node[part] = {}
        node = child
    try:
        node[location[-1]] = _parse(annotation, text)
    except (yaml.YAMLError, *YAML_FAILURES):
        problems.append(
            Problem(name, "", f"expected a list or mapping in JSON or YAML form for {'.'.join(location)}")
        )
        return
    variables[location] = name


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        left = [arg for arg in get_args(annotation) if arg is not type(None)]
        return left[0] if len(left) == 1 else annotation
    return annotation


def _annotation(model: type[BaseModel], location: tuple[str, ...]) -> Any:
    """The type of the key at `location`, or None if there is none."""
    current: Any = model
    for part in location:
        current = _without_none(current)
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        else:
            return None
    return current


def _parse(annotation: Any, text: str) -> Any:
    """A variable's text as a value: lists also as `a,b`, everything structured as JSON or YAML."""
    annotation = _without_none(annotation)
    origin = get_origin(annotation) or annotation
    structured = isinstance(origin, type) and issubclass(
        origin, list | tuple | set | frozenset | dict | BaseModel
    )
    if not structured:
        return text
    if text.lstrip().startswith(("[", "{")):
        return yaml.safe_load(text)
    if issubclass(origin, dict | BaseModel):
        raise yaml.YAMLError
    return [item.strip() for item in text.split(",") if item.strip()]


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in model.model_fields.items():
        annotation = _without_none(info.annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += _keys(annotation, f"{prefix}{name}.")
        keys.append(prefix + name)
    return keys


def _unknown(model: type[BaseModel], location: tuple[str, ...]) -> str:
    key = ".".join(location)
    known = _keys(model)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    # The right name under the wrong section.
    moved = [other for other in known if other.split(".")[-1] == location[-1]]
    meant = close or moved
    if meant:
        return f"unknown key {key}; did you mean {meant[0]}?"
    section = _annotation(model, location[:-1]) if location[:-1] else model
    section = _without_none(section)
    if isinstance(section, type) and issubclass(section, BaseModel):
        where, names = ".".join(location[:-1]), ", ".join(section.model_fields)
        return f"unknown key {key}; {f'below {where}' if where else 'at the top'} there are: {names}"
    return f"unknown key {key}"


def _explain(
    model: type[BaseModel], details: ErrorDetails, file: str, variables: Mapping[tuple[str, ...], str]
) -> Problem:
    location = tuple(details["loc"])
    names = tuple(str(part) for part in location)
    source = next(
        (variables[names[:end]] for end in range(len(names), 0, -1) if names[:end] in variables), file
    )
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if details["type"] == "extra_forbidden":
        plain = tuple(part for part in location if isinstance(part, str))
        what = _unknown(model, plain) if len(plain) == len(location) else "unknown key"
        return Problem(source, "" if what.startswith("unknown key ") else key, what)
    what = details["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if details["type"] == "missing":
        what = "is required and has no default"
    elif what.startswith("expected") and not isinstance(details["input"], dict):
        what += f"; found {_shown(key, details['input'])}"
    return Problem(source, key, what)


def _shown(key: str, value: object) -> str:
    if _SECRET_NAME.search(key):
        return "a value that is not shown"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
