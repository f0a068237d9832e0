"""Fingerprints of the code of plugins that are not bundled."""

import pytest

import speechtools
from speechtools.core.plugin_code import fingerprint_of, fingerprints_of_plugins
from speechtools.core.registry import import_module

CODE = "from speechtools import plugin\n\n\n@plugin('toy/net')\ndef net():\n    return {}\n"


@pytest.mark.usefixtures("registry_restored")
def test_an_edited_file_has_another_fingerprint(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "toy_code.py"
    path.write_text(CODE.format(1))
    import_module(path)
    before = fingerprints_of_plugins(["toy/net", "corpus/folder", "measure/stoi"])
    assert list(before) == ["toy/net"] and before["toy/net"] == fingerprint_of(speechtools.find("toy/net"))
    path.write_text(CODE.format(2))
    assert fingerprints_of_plugins(["toy/net"]) != before
    path.write_text(CODE.format(1))
    assert fingerprints_of_plugins(["toy/net"]) == before


def test_what_has_no_file_has_no_fingerprint():
    function = eval("lambda: 1", {"__name__": "typed"})
    assert fingerprint_of(function) == fingerprint_of(speechtools.find("quality/blstm")) == ""
