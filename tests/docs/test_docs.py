"""Links resolve, commands exist with the options that they are shown with, paths and metrics named in docs are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import client.commands
import gateway.main
import keygen.main
import sign_service.main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda path: path.relative_to(ROOT).as_posix()
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
COMMANDS: dict[str, click.Command] = {
    "sign-gateway": gateway.main.main,
    "sign-service": sign_service.main.main,
    "mpc-keygen": keygen.main.main,
    "mpc-client": client.commands.cli,
}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def anchors(text: str) -> set[str]:
    """The anchors of headings, as forges make them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def code(text: str) -> Iterator[str]:
    """Shell lines: fenced, indented by four, or between single backticks."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    (\S.*)$", plain, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", plain)


def shown_commands(text: str) -> list[list[str]]:
    """Every line that calls one of our commands, as words, without what runs it in a container."""
    found = []
    for line in code(text):
        words = shlex.split(line.split(" # ")[0], comments=True) if line.count("'") % 2 == 0 else []
        if words[:1] == ["docker-compose"]:
            starts = [at for at, word in enumerate(words) if word in COMMANDS]
            words = words[starts[0] :] if starts else []
        if words and words[0] in COMMANDS:
            found.append(words)
    return found


def problem_of(words: list[str]) -> str | None:
    """What is wrong with a call: a command or option that is not there."""
    command, rest = COMMANDS[words[0]], words[1:]
    known: set[str] = {"--help", "--version"}
    for word in rest:
        known |= {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
        option = word.split("=")[0]
        if re.match(r"--?[a-z]", option) and option not in known:
            return f"{' '.join(words)}: there is no option {option}"
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return f"{' '.join(words)}: there is no command {word}"
            command = inner
    return None


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{name}: {target}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in reached:
            continue
        reached.add(path)
        targets = re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", path.read_text(encoding="utf-8"))
        ahead += [(path.parent / target).resolve() for target in targets if "://" not in target]
    assert set((ROOT / "docs").glob("*.md")) <= reached


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_that_are_shown_exist(name: str) -> None:
    problems = [problem_of(words) for words in shown_commands((ROOT / name).read_text(encoding="utf-8"))]
    assert not [problem for problem in problems if problem]


def test_the_commands_of_readme_and_quick_start_are_found() -> None:
    for name in ("README.md", "docs/quickstart.md"):
        assert {words[0] for words in shown_commands((ROOT / name).read_text(encoding="utf-8"))} == set(
            COMMANDS
        )
    assert "there is no command creates" in problem_of(["mpc-keygen", "creates"])
    assert "there is no option --yes" in problem_of(["mpc-keygen", "create", "main", "--yes"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    def walk(command: click.Command, words: list[str]) -> None:
        context = click.Context(command, info_name=" ".join(words))
        text = command.get_help(context)
        assert len(text) > 100, words
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                part = command.get_command(context, inner)
                assert part is not None, [*words, inner]
                walk(part, [*words, inner])

    walk(COMMANDS[name], [name])


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_and_compose_services_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in code(text):
        words = line.split()
        if words[:1] == ["make"]:
            assert words[1] in TARGETS, line
        if words[:3] == ["docker-compose", "run", "--rm"]:
            assert words[3] in COMPOSE, line
        if words[:2] == ["docker-compose", "exec"]:
            assert words[2] in COMPOSE, line


@pytest.mark.parametrize("name", NAMES)
def test_files_and_directories_named_in_code_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    tops = "tss|participant|gateway|kit|client|keygen|sign_service|tests|tools|config|proto|deploy"
    for path in re.findall(rf"`((?:{tops})/[\w./-]*)`", text) + re.findall(r"\b(tests/\w+)\b", text):
        assert (ROOT / path).exists(), path


def test_metrics_named_in_docs_are_counted() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:sign_service|gateway)_[a-z_]+)`", text))
    assert names
    source = "".join(
        (ROOT / file).read_text(encoding="utf-8") for file in ("gateway/meters.py", "sign_service/meters.py")
    )
    # The client library adds _total to counters.
    kept = {name.removesuffix("_total").removeprefix("sign_service_") for name in names}
    assert not [name for name in kept if f'"{name}"' not in source and f'"sign_service_{name}"' not in source]


def test_words_that_users_search_for_are_in_the_troubleshooting() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for words in ("Connection refused", "Key share not found", "Threshold not met"):
        assert f'**"{words}".**' in text


def test_every_directory_of_tests_is_named() -> None:
    named = set(re.findall(r"tests/(\w+)", (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")))
    directories = {
        path.parent.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")
    }
    assert directories <= named
