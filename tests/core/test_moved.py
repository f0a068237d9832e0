"""Former names of modules and of what they contain."""

import importlib
import sys

import pytest

from speechtools.core.moved import MOVED, MOVED_NAMES


@pytest.mark.parametrize("former", [*MOVED, "data.corpora.timit"])
def test_a_former_module_has_the_names_of_the_present_one(former):
    sys.modules.pop(f"speechtools.{former}", None)
    with pytest.warns(DeprecationWarning, match=f"speechtools.{former} has moved to"):
        module = importlib.import_module(f"speechtools.{former}")
    target = importlib.import_module(f"speechtools.{MOVED.get(former, 'corpora.timit')}")
    assert all(getattr(module, name) is value for name, value in vars(target).items() if not name.startswith("_"))


def test_a_module_that_never_was_stays_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("speechtools.features_of_old")


def test_names_of_a_module_that_was_split_are_found():
    sys.modules.pop("speechtools.ge2e", None)
    with pytest.warns(DeprecationWarning, match="speechtools.ge2e has moved"):
        former = importlib.import_module("speechtools.ge2e")
    assert former.ScaleAndOffset is importlib.import_module("speechtools.speaker.losses").ScaleAndOffset


@pytest.mark.parametrize("module", MOVED_NAMES)
def test_names_that_have_left_a_module_are_found(module):
    former = importlib.import_module(f"speechtools.{module}")
    for name, place in MOVED_NAMES[module].items():
        with pytest.warns(DeprecationWarning, match=f"{name} is now speechtools.{place}"):
            present = getattr(former, name)
        home, _, attribute = place.rpartition(".")
        assert present is getattr(importlib.import_module(f"speechtools.{home}"), attribute)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        former.nothing  # noqa: B018
