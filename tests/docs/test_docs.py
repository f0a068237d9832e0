"""The documentation keeps up with the code: its blocks run, its names exist, its figures and its commands are there.

A block of Python runs, and a block of text behind it is what it prints. A block of commands runs up to a comment that
begins with "takes" or "needs"; of what follows, the files must exist. The blocks of a page share their names and a
folder that holds the recordings of the tour.
"""

import ast
import contextlib
import html
import importlib
import inspect
import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import speechtools
from speechtools import cli, tour
from speechtools.core.contract import CONTRACTS

sybil = pytest.importorskip("sybil", reason="pip install '.[dev]'")
MarkdownIt = pytest.importorskip("markdown_it", reason="pip install '.[dev]'").MarkdownIt
from sybil.evaluators.python import PythonEvaluator  # noqa: E402
from sybil.parsers.markdown import CodeBlockParser  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name not in ("CHANGELOG.md", "contracts.md") and path.parent.name != "checkout"
)
LONG = re.compile(r"#\s*(takes|needs)\b")
BLOCK = re.compile(r"^```(\S*)", re.MULTILINE)
FILES = re.compile(r"(?<![\w/])[\w./-]+\.(?:py|yaml)\b")


# --------------------------------------------------------------------------------------------------------------- blocks


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    return tour.write_recordings(tmp_path_factory.mktemp("docs") / "tour")


@pytest.fixture
def folder(toured, tmp_path, monkeypatch):
    """A folder with the recordings that the pages speak of."""
    shutil.copytree(toured, tmp_path / "tour")
    names = {"call.wav": "clean", "noisy.wav": "very_noisy", "who.wav": "anna_4", "a.wav": "anna_1", "b.wav": "anna_2"}
    names |= {f"a{number}.wav": f"anna_{number}" for number in (1, 2, 3)}
    names["folder/a.wav"] = "clean"
    for name, source in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toured / f"{source}.wav", tmp_path / name)
        if "/" not in name:  # libsndfile goes by the content, not by the suffix
            shutil.copy(toured / f"{source}.wav", tmp_path / Path(name).with_suffix(".flac"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_python(example):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        PythonEvaluator()(example)
    example.namespace["printed"] = printed.getvalue()


def compare_output(example):
    """Numbers may differ by one in their last digit."""
    said, printed = (text.split() for text in (example.parsed, example.namespace.pop("printed")))
    assert len(said) == len(printed), f"the page says {said}, and {printed} was printed"
    for one, other in zip(said, printed, strict=True):
        try:
            decimals = len(one.partition(".")[2])
            same = abs(float(one) - float(other)) <= 1.01 * 10.0**-decimals
        except ValueError:
            same = one == other
        assert same, f"the page says {one}, and {other} was printed"


def run_shell(example):
    """Run what is quick in this process; look up the files of the rest."""
    place, runs = ROOT, True
    for line in example.parsed.replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            runs = runs and not LONG.match(line)
            continue
        words = shlex.split(line, comments=True)
        if words[:1] == ["cd"]:
            place = (place / words[1]).resolve()
        elif not runs:
            if "speechtools new" not in example.parsed:  # which writes the files that the block then uses
                check_files(place, words)
        elif words[:1] == ["speechtools"]:
            assert cli.main(words[1:]) == 0, line
        elif words[:3] == ["python", "-m", "speechtools.tour"]:
            assert tour.main(words[3:]) == 0, line
        else:
            raise AssertionError(f"{line!r} is not run by the tests: put a comment '# takes …' or '# needs …' above it")


def check_files(place, words):
    assert place.is_dir(), f"there is no folder {place}"
    for file in (word for word in words if FILES.fullmatch(word)):
        assert (place / file).is_file(), f"there is no {file} in {place}"
    if words[:1] == ["make"]:
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target: {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page, folder, capsys):
    parsers = [
        CodeBlockParser("python", run_python),
        CodeBlockParser("sh", run_shell),
        CodeBlockParser("text", compare_output),
    ]
    document = sybil.Sybil(parsers, filenames=[page.name], path=str(page.parent)).parse(page)
    for example in document.examples():
        try:
            example.evaluate()
        except Exception as error:
            raise AssertionError(f"{page}, line {example.line}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_has_a_language_that_is_tested(page):
    languages = BLOCK.findall(page.read_text(encoding="utf-8"))[::2]
    assert set(languages) <= {"python", "sh", "text", "{toctree}", "{eval-rst}"}


def blocks(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    test_every_block_of_a_page_runs(page, tmp_path, None)


@pytest.mark.parametrize(
    "text, message",
    [
        ("```python\nimport speechtools\nspeechtools.built()\n```", "line 1: AttributeError.*'built'"),
        ("```python\nprint(1.25)\n```\n\n```text\n1.3\n```", None),
        ("```python\nprint(1.25)\n```\n\n```text\n1.4\n```", "the page says 1.4, and 1.25 was printed"),
        ("```python\nprint('a')\n```\n\n```text\na b\n```", "the page says"),
        ("```sh\nspeechtools show encoder/lsmt\n```", "line 1: AssertionError: speechtools show"),
        ("```sh\npip install .\n```", "put a comment '# takes"),
        (
            "```sh\n# takes a minute\ncd recipes/keyword/GE2E\npython train.py hparams/gone.yaml\n```",
            "no hparams/gone.yaml",
        ),
        ("```sh\n# takes a minute\nmake tea\n```", "no target"),
    ],
)
def test_what_would_be_found(text, message, tmp_path, capsys):
    if message is None:
        blocks(text, tmp_path)
    else:
        with pytest.raises(AssertionError, match=message):
            blocks(text, tmp_path)


# ---------------------------------------------------------------------------------------------------------- the papers


def rows_of_papers():
    """(paper, item, implemented by) of every row of docs/papers.md."""
    paper, rows = "", []
    for line in (ROOT / "docs" / "papers.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            paper = line[3:].split(" (")[0]
        elif line.startswith("|") and not line.startswith(("| item", "| ---")):
            _, item, _, implementation, _ = (cell.strip() for cell in line.split("|"))
            rows.append((paper, item, implementation))
    return rows


@pytest.mark.parametrize("paper, equations, tables, figures", [("Quality-Net", 2, 3, 5), ("GE2E", 12, 3, 4)])
def test_every_equation_table_and_figure_has_its_row(paper, equations, tables, figures):
    items = [item for each, item, _ in rows_of_papers() if each == paper]
    for kind, count in (("equation", equations), ("table", tables), ("figure", figures)):
        wanted = [f"{kind} {number}" for number in range(1, count + 1)]
        assert sorted(item for item in items if re.fullmatch(rf"{kind} \d+", item)) == sorted(wanted)


@pytest.mark.parametrize("paper, item, implementation", rows_of_papers(), ids=lambda value: value[:20])
def test_what_implements_it_is_there(paper, item, implementation):
    names = re.findall(r"`([^`]+)`", implementation)
    assert names, f"{item} of {paper} names nothing"
    for name in names:
        if name.startswith("python "):
            check_files(ROOT, shlex.split(name))
        else:
            assert inspect.getdoc(resolved(name)), f"{name} has no docstring"


def resolved(name):
    """The object of a dotted name: a module, or an attribute of one, at any depth."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} names no module")


# ------------------------------------------------------------------------------------------------ written by the code


def test_the_page_of_contracts_has_every_kind_law_and_part(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    source = importlib.import_module("generated").contracts()
    sys.modules.pop("generated")
    rendered = MarkdownIt().enable("table").render(source)
    page = html.unescape(re.sub(r"</?(p|code|td|tr|li|h2)>", "", rendered)).replace("\n", " ")
    for kind, contract in CONTRACTS.items():
        assert f" {kind} {contract.sentence} Laws:" in page
        assert all(f" {law.sentence} " in page for law in contract.laws)
    for name in speechtools.available():
        summary = (inspect.getdoc(speechtools.find(name)) or "").partition("\n")[0]
        assert f" {name} {summary.replace('``', '')} " in page


@pytest.mark.parametrize(
    "link, on_the_site",
    [
        ("[it](../../../docs/speed.md)", "[it](../speed.md)"),
        ("[it](../../TI-SV/GE2E/README.md#results)", "[it](recipes-TI-SV-GE2E-README.md#results)"),
        ("[it](train.py)", "it"),
        ("[it](https://example.org)", "[it](https://example.org)"),
        ("![it](figures/det.png)", "![it](figures/det.png)"),
    ],
)
def test_links_of_a_copied_page_lead_to_pages_of_the_site(link, on_the_site, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    generated = importlib.import_module("generated")
    sys.modules.pop("generated")
    path = ROOT / "recipes/TIMIT/quality/README.md"
    assert generated.linked(link, path, generated.ELSEWHERE[path]) == on_the_site


def test_every_figure_of_the_docs_is_made_by_their_script_and_shown():
    shown = {
        name
        for page in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"figures/(\w+)\.png\)", page.read_text("utf-8"))
    }
    there = {path.stem for path in (ROOT / "docs" / "figures").glob("*.png")}
    text = (ROOT / "docs" / "figures" / "make.py").read_text(encoding="utf-8")
    functions = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert shown == there and there - functions == {"det"}, "det.png is drawn beside dvectors.png"


def test_links_within_the_checkout_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"
