"""README, CONTRIBUTING and docs/: examples run, commands parse, tables are the code's, links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from typer.main import get_command

from docs import tables
from tuner.cli.app import app, main
from tuner.space.reader import Options, read_space
from tuner.space.spec import Spec
from tuner.testing import CHECKS, load

ROOT = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "clusters/README.md", "benchmarks/README.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

# What a fragment is put into to be read: one line for each key.
BASE = {
    "model": "model: aae_unsup",
    "dataset": "dataset: digits",
    "metric": "metric: {name: acc, goal: maximize}",
    "parameters": "parameters: {n_clusters: {values: [7, 10]}}",
}
FRAGMENT = "# Part of a space."


# --- examples ----------------------------------------------------------------------------------------------------------


def commands(line: str) -> Iterator[list[str]]:
    """The words of each `tuner ...` in a line of shell, without what follows a `#`."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            if words and words[0].rsplit("/")[-1] == "tuner":
                yield words[1:]
            words = []
        else:
            words.append(word)


def parse(words: list[str]) -> None:
    """Raises what the command line would raise: no such command or option, a value of the wrong kind, arguments too few or too many."""
    command, context = get_command(app), None
    while hasattr(command, "resolve_command"):  # a group: its options, then a command of its own
        context = command.context_class(command, info_name=command.name, parent=context, **command.context_settings)
        _, words, _ = command.make_parser(context).parse_args(words)
        if not words:
            return  # `tuner --help` and the like; the option's callback does not run
        _, command, words = command.resolve_command(context, words)
    if not {"-h", "--help"} & set(words):
        command.make_context(command.name, words, parent=context)


def shell(example: Example) -> None:
    lines = example.parsed.replace("\\\n", " ").splitlines()
    if example.region.lexemes["arguments"] == "console":  # what does not begin with a prompt is output
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        for words in commands(line):
            parse(words)
            if words[:1] == ["new-model"]:  # what follows on the page changes this file
                assert main(words) == 0


def edit(example: Example) -> None:
    """Changes the page's model as a block of diff says: the lines that it takes away and those around them are there, once."""
    lines = example.parsed.rstrip("\n").splitlines()
    before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in kinds) for kinds in (" -", " +"))
    file = Path("my_model.py")
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    file.write_text(text.replace(before, after), encoding="utf-8")


def read(text: str, folder: Path, name: str = "space.yaml") -> Spec:
    (folder / name).write_text(text, encoding="utf-8")
    own = folder / "my_model.py"
    return read_space(str(folder / name), options=Options(models=[own] if own.exists() else []))


def space(text: str, folder: Path) -> Spec | None:
    """A block of YAML: a whole space, a fragment that says so, or a file that names itself and is shown with its errors."""
    keys = yaml.safe_load(text).keys()
    if re.match(r"# \S+\.yaml\n", text):
        return None  # see test_the_errors_shown_are_those_of_the_file_shown
    base = {key: line for key, line in BASE.items() if key != "metric" or "metrics" not in keys}
    if not base.keys() <= keys:
        assert text.startswith(f"{FRAGMENT}\n"), f"neither a whole space nor marked '{FRAGMENT}':\n{text}"
        text = "\n".join([*(line for key, line in base.items() if key not in keys), text])
    return read(text, folder)


@each_page
def test_every_example_holds(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parsers = [
        PythonCodeBlockParser(),
        CodeBlockParser("sh", shell),
        CodeBlockParser("console", shell),
        CodeBlockParser("diff", edit),
        CodeBlockParser("yaml", lambda example: space(example.parsed, tmp_path) and None),
    ]
    for example in Sybil(parsers).parse(page).examples():
        example.evaluate()


def test_the_model_that_the_tutorial_arrives_at_keeps_every_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in Sybil([CodeBlockParser("sh", shell), CodeBlockParser("diff", edit)]).parse(ROOT / "docs/own-model.md").examples():
        example.evaluate()
    model = load("my_model.py")
    assert "weights.balance" in model.parameters()
    for check in CHECKS[:-1]:  # the last starts a process
        check(model)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tuner serch --space my.yaml", "serch"),
        ("tuner search --space my.yaml --trails 3", "--trails"),
        ("tuner search --trials 3", "space"),
        ("tuner search --space my.yaml --trials many", "integer"),
        ("tuner show my other | jq .best", "other"),
        ("cd there && .venv/bin/tuner cluster upp local", "upp"),
    ],
)
def test_a_command_that_the_command_line_would_refuse_is_found(line: str, message: str) -> None:
    (words,) = commands(line)
    with pytest.raises(Exception, match=message):
        parse(words)


@pytest.mark.parametrize(
    "line",
    [
        "tuner search --space my.yaml  # --nonsense",
        "ray up nothing --tuner",
        "tuner --install-completion",
        "tuner cluster up ssh.yaml --yes",
        "tuner show my --json | jq .best",
    ],
)
def test_a_command_that_it_would_take_is_not(line: str) -> None:
    for words in commands(line):
        parse(words)


def test_a_fragment_is_marked_and_read(tmp_path: Path) -> None:
    found = space(f"{FRAGMENT}\ntrials: 7\n", tmp_path)
    assert found is not None and found.trials == 7
    with pytest.raises(AssertionError, match="marked"):
        space("trials: 7\n", tmp_path)
    with pytest.raises(ValueError, match="trails"):
        space(f"{FRAGMENT}\ntrails: 7\n", tmp_path)


@each_page
def test_the_errors_shown_are_those_of_the_file_shown(page: Path, tmp_path: Path, tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file, text, errors in re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```\n\n```text\n(.*?)```", page.read_text(), re.DOTALL):
        (tmp_path / file).write_text(f"# {file}\n{text}", encoding="utf-8")
        assert tuner("check", file) == (2, "", errors)


# --- names, tables, links ----------------------------------------------------------------------------------------------


@each_page
def test_commands_named_in_the_text_are_there(page: Path) -> None:
    known = get_command(app).commands
    assert {name for name in re.findall(r"`tuner ([a-z]+(?:-[a-z]+)*)", page.read_text()) if name not in known} == set()


@each_page
def test_generated_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text()
    assert tables.renewed(text) == text, "python docs/tables.py"


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_generated_table_is_in_a_page(name: str) -> None:
    assert any(f"<!-- docs/tables.py, {name}: begin -->" in page.read_text() for page in PAGES)


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


@each_page
def test_paths_named_in_the_text_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tuner|models|tests|docs|benchmarks|search_spaces|clusters)/[^`\s<>*]*)`", page.read_text())
    assert {path for path in named if not (ROOT / path).exists()} == set()


@each_page
def test_names_said_to_be_in_a_file_are_there(page: Path) -> None:
    """`NAME` in `tuner/file.py`."""
    for name, file in re.findall(r"`(\w+)(?:\(\))?` in (?:\[)?`((?:tuner|models|tests|benchmarks)/[^`\s]+\.py)`", page.read_text()):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{file} has no {name}"


def test_the_tree_has_every_package() -> None:
    named = re.findall(r"^\| `(tuner/\w*/?)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    there = {f"tuner/{path.parent.name}/" for path in (ROOT / "tuner").glob("*/__init__.py")}
    assert named[0] == "tuner/" and len(named) == len(set(named))
    assert set(named[1:]) == there


def test_the_index_of_benchmarks_has_every_script() -> None:
    text = (ROOT / "benchmarks/README.md").read_text()
    assert [path.name for path in (ROOT / "benchmarks").glob("*.py") if f"`benchmarks/{path.name}`" not in text] == []


def test_the_readme_is_a_front_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    first, second = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "tuner search --space" in first and "pytest" in second
