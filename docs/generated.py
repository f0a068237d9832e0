"""Pages that are written from the code or copied from the checkout, so that they cannot go stale."""

import inspect
import os
import re
import shutil
from pathlib import Path

from speechtools.core import registry
from speechtools.core.contract import CONTRACTS

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
#: Pages that lie elsewhere in the checkout, and where the site has them.
ELSEWHERE = {
    path: DOCS / "checkout" / ("-".join(path.relative_to(ROOT).with_suffix("").parts) + ".md")
    for pattern in ("C*.md", "recipes/*/*/README.md", "speechtools/pretrained/*/README.md")
    for path in ROOT.glob(pattern)
}


def copy_pages() -> None:
    """Write the pages of ``ELSEWHERE``, and no others."""
    shutil.rmtree(DOCS / "checkout", ignore_errors=True)
    for path, copy in ELSEWHERE.items():
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(linked(path.read_text(encoding="utf-8"), path, copy), encoding="utf-8")


def linked(text: str, path: Path, page: Path) -> str:
    """The text of a file of the checkout as a page of the site: links lead to pages; a link to another file is text."""

    def link(match: re.Match) -> str:
        words, target, anchor = match.groups(default="")
        there = (path.parent / target).resolve()
        there = ELSEWHERE.get(there, there)
        on_site = there in ELSEWHERE.values() or (there.is_relative_to(DOCS) and there.suffix == ".md")
        return f"[{words}]({os.path.relpath(there, page.parent)}{anchor})" if on_site else words

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", link, text)


def contracts() -> str:
    """``contracts.md``: every kind with its sentence, its laws and its parts, from the registry."""
    lines = [
        "# Contracts",
        "",
        "A part is filed as `kind/name`. Every kind has a contract: one sentence with shapes, and laws, which",
        "`speechtools check kind/name` puts to any part, ours or yours. This page is written from the registry.",
        "",
        "| kind | what its parts take and return | laws | parts |",
        "| --- | --- | --- | --- |",
    ]
    for kind, contract in CONTRACTS.items():
        parts = registry.available(kind)
        lines.append(f"| [{kind}](#{kind}) | `{contract.sentence}` | {len(contract.laws)} | {len(parts)} |")
    for kind, contract in CONTRACTS.items():
        lines += ["", f"## {kind}", "", f"`{contract.sentence}`", "", "Laws:", ""]
        lines += [f"- {_escaped(law.sentence)}" for law in contract.laws]
        lines += ["", "Parts:", "", "| name | what it is |", "| --- | --- |"]
        for name in registry.available(kind):
            summary = (inspect.getdoc(registry.find(name)) or "").partition("\n")[0]
            lines.append(f"| `{name}` | {_escaped(summary.replace('``', ''))} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text that means nothing else in Markdown: a layout like <speaker>_NO_<number>.wav stays as it is."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", text)
