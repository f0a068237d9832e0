"""The settings in the comment of a recording."""

import numpy as np
import pytest

from speechtools import audio
from speechtools.audio.settings import as_comment, read_settings, stored


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("length", [20, 199, 5000])
@pytest.mark.parametrize("letter", ["x", "é", "語"])
def test_settings_of_any_length_are_read_as_they_were_stored(tmp_path, suffix, length, letter):
    settings = {"chain": letter * length, "where": letter * length, "channel": "mix", "sample_rate": None}
    audio.write(tmp_path / f"a.{suffix}", np.zeros(160, np.float32), 16000, as_comment("degrade", settings))
    assert read_settings(tmp_path / f"a.{suffix}", "degrade") == stored(settings)
    assert read_settings(tmp_path / f"a.{suffix}", "enhance") is None
    assert stored(settings) != stored(settings | {"where": letter * (length - 1)})
