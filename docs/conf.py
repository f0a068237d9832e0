"""The documentation: Sphinx with MyST, built by `make docs`. Pages that follow from the code are written here."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402

import speechtools  # noqa: E402

project = "speechtools"
author = "the speechtools authors"
copyright = author
release = speechtools.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "speechtools"
myst_heading_anchors = 3

# Quotes in laws and code are straight, as they are typed.
smartquotes = False

# Signatures carry the types; the Arguments of the docstrings say the rest.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", "Conventions", "Metrics"]


def setup(app):
    """Links to READMEs lead to their pages; names of the code on the page of the papers become links to the API's."""

    def link(app, docname, source):
        page = HERE / f"{docname}.md"
        if page not in generated.ELSEWHERE.values():
            source[0] = generated.linked(source[0], page, page)
        if docname == "papers":
            source[0] = re.sub(r"`(speechtools\.[\w.]+)`", r"{py:obj}`\1`", source[0])

    app.connect("source-read", link)


(HERE / "contracts.md").write_text(generated.contracts(), encoding="utf-8")
generated.copy_pages()
