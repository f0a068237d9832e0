"""A check that a law catches a plugin that breaks it."""

import functools
import re
from unittest import mock

import pytest

import speechtools
from speechtools.core import contract, registry
from speechtools.core.errors import PluginError


def keeps(kind: str, plugin, **options) -> list[str]:
    """The laws of a kind that a plugin keeps."""
    speechtools.available()  # everything is imported before the patch, so that restoring loses nothing
    with mock.patch.dict(registry._plugins):
        speechtools.plugin(f"{kind}/toy")(plugin)
        return contract.check(f"{kind}/toy", **options)


def must_break(kind: str, plugin, law: str, seen: str, **options) -> None:
    """The plugin breaks the law whose sentence has the words ``law``; the message matches ``seen``."""
    (broken,) = (candidate for candidate in contract.contract(kind).laws if law in candidate.sentence)
    with pytest.raises(PluginError, match=re.escape(f"{kind!r}: {broken.sentence}. Seen: ")) as caught:
        keeps(kind, plugin, **options)
    assert re.search(seen, str(caught.value)), caught.value


def changed(base: type, change, method: str = "forward") -> type:
    """A subclass whose ``method(*arguments)`` returns ``change(that of the base, *arguments)``."""

    def new(self, *arguments, **options):
        return change(functools.partial(getattr(base, method), self), *arguments, **options)

    return type("Changed", (base,), {method: new})
