"""Pages that are written from the code, so that they cannot go stale."""

import inspect
import re

from speechtools import registry
from speechtools.contracts import CONTRACTS


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
