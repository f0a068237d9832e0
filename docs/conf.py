"""Sphinx configuration: MyST pages, the API by autodoc, and the generated pages of ``generated``."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402
import torch  # noqa: E402, F401 -- before it, speechtools.inference has stand-ins for classes

import speechtools  # noqa: E402

project = "speechtools"
author = "the speechtools authors"
copyright = author
release = speechtools.__version__
extensions = ["myst_parser", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "speechtools"
myst_heading_anchors = 3

smartquotes = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", "Conventions", "Metrics"]


def setup(app):
    """Rewrite links to READMEs, and link the names of the code in papers.md to the API."""

    def link(app, docname, source):
        page = HERE / f"{docname}.md"
        if page not in generated.ELSEWHERE.values():
            source[0] = generated.linked(source[0], page, page)
        if docname == "papers":
            source[0] = re.sub(r"`(speechtools\.[\w.]+)`", r"{py:obj}`\1`", source[0])

    app.connect("source-read", link)


(HERE / "contracts.md").write_text(generated.contracts(), encoding="utf-8")
generated.copy_pages()
