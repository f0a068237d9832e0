"""Former names of modules."""

import importlib
import sys

import pytest

from speechtools.core.moved import MOVED


@pytest.mark.parametrize("former", [*MOVED, "data.corpora.timit"])
def test_a_former_module_hands_on_the_names_of_the_present_one(former):
    sys.modules.pop(f"speechtools.{former}", None)
    with pytest.warns(DeprecationWarning, match=f"speechtools.{former} has moved to"):
        module = importlib.import_module(f"speechtools.{former}")
    present = MOVED.get(former, "corpora.timit")
    target = importlib.import_module(f"speechtools.{present}")
    names = [name for name in vars(target) if not name.startswith("_")]
    assert all(getattr(module, name) is getattr(target, name) for name in names)


def test_a_module_that_never_was_stays_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("speechtools.features_of_old")
