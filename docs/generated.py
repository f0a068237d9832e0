"""Pages that are generated from the registry or copied from the checkout."""

import inspect
import os
import re
import shutil
from pathlib import Path

from speechtools.core import registry

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
#: Pages elsewhere in the checkout, and their copies on the site.
ELSEWHERE = {
    path: DOCS / "checkout" / ("-".join(path.relative_to(ROOT).with_suffix("").parts) + ".md")
    for pattern in ("C*.md", "recipes/*/*/README.md", "speechtools/pretrained/*/README.md")
    for path in ROOT.glob(pattern)
}


def copy_pages() -> None:
    """Write the pages of ``ELSEWHERE``."""
    shutil.rmtree(DOCS / "checkout", ignore_errors=True)
    for path, copy in ELSEWHERE.items():
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(linked(path.read_text(encoding="utf-8"), path, copy), encoding="utf-8")


def linked(text: str, path: Path, page: Path) -> str:
    """Rewrite the links of a page for the site; a link to a file that has no page becomes text."""

    def link(match: re.Match) -> str:
        words, target, anchor = match.groups(default="")
        there = (path.parent / target).resolve()
        there = ELSEWHERE.get(there, there)
        on_site = there in ELSEWHERE.values() or (there.is_relative_to(DOCS) and there.suffix == ".md")
        return f"[{words}]({os.path.relpath(there, page.parent)}{anchor})" if on_site else words

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", link, text)


def contracts() -> str:
    """Write ``contracts.md``: every kind with its contract and its plugins, from the registry."""
    lines = [
        "# Contracts",
        "",
        "Every kind of plugin has a contract: one sentence with shapes, and laws.",
        "`speechtools check plugin kind/name` tests a plugin against the contract of its kind.",
        "",
        "| kind | contract | laws | plugins |",
        "| --- | --- | --- | --- |",
    ]
    for kind, contract in registry.contracts().items():
        names = registry.available(kind)
        lines.append(f"| [{kind}](#{kind}) | `{contract.sentence}` | {len(contract.laws)} | {len(names)} |")
    for kind, contract in registry.contracts().items():
        lines += ["", f"## {kind}", "", f"`{contract.sentence}`", "", "Laws:", ""]
        lines += [f"- {_escaped(law.sentence)}" for law in contract.laws]
        lines += ["", "Plugins:", "", "| name | summary |", "| --- | --- |"]
        for name in registry.available(kind):
            summary = (inspect.getdoc(registry.find(name)) or "").partition("\n")[0]
            lines.append(f"| `{name}` | {_escaped(summary.replace('``', ''))} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Escape Markdown, as in a layout like <speaker>_NO_<number>.wav."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", text)
