"""Runs of the recipes that several tests share."""

import functools

import pytest
import runs


@pytest.fixture(scope="session")
def trained(tmp_path_factory, builtin_cache):
    """``trained(recipe)``: the folder of a run that was never interrupted, its prepared folder, and what it printed."""

    @functools.cache
    def train(recipe):
        folder = tmp_path_factory.mktemp("recipe")
        return folder / "run", folder / "prepared", runs.succeeded(recipe.train(folder / "run", folder / "prepared"))

    return train
