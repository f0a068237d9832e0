"""The segment that contains a keyword."""

import pytest
import torch

import speechtools
from speechtools.core.errors import AudioError, ConfigError

RATE = 16000


def recording(place, length=0.5, seconds=3.0, background=1e-3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wav = background * torch.randn(round(seconds * RATE), generator=generator)
    first, count = round(place * RATE), round(length * RATE)
    wav[first : first + count] += 0.2 * torch.randn(count, generator=generator)
    return wav


@pytest.mark.parametrize("place", [0.0, 1.1, 2.5])
@pytest.mark.parametrize("background", [0.0, 1e-2])
def test_the_keyword_lies_in_the_middle_or_at_the_edge(place, background):
    start = speechtools.build("segment/energy")(recording(place, background=background)) / RATE
    assert start <= place + 0.01 and start + 0.8 >= place + 0.49
    if 0.2 < place < 2.2:
        assert abs(start + 0.4 - (place + 0.25)) < 0.12


def test_other_sounds_and_levels():
    segment = speechtools.build("segment/energy")
    louder = recording(0.4) + 10 * recording(2.0, seed=1, background=0.0)
    assert 1.6 < segment(louder) / RATE < 2.05
    assert 0.49 <= segment(recording(0.5, length=2.0)) / RATE <= 1.71  # what is longer fills it
    assert segment(recording(0.1, seconds=0.8)) == 0
    assert [segment(recording(0.1), end=end) for end in (20000, 500, 48000)] == [20000 + 800 - 12800, 0, 48000 - 12800]
    wav = recording(1.0)
    assert segment(wav) == segment(0.01 * wav) == segment(wav + 0.2)


@pytest.mark.parametrize(
    "wav, end, message",
    [
        (recording(0.1, seconds=0.7), None, "0.700 s .*0.8 s"),
        (torch.zeros(2 * RATE), None, "no speech"),
        (recording(0.1), 60000, "60000.* 48000"),
        (recording(0.1).unsqueeze(0), None, r"shape \(1, 48000\)"),
    ],
)
def test_recordings_without_a_keyword(wav, end, message):
    with pytest.raises(AudioError, match=message):
        speechtools.build("segment/energy")(wav, end)
    with pytest.raises(ConfigError, match="seconds=0"):
        speechtools.build("segment/energy", seconds=0)
