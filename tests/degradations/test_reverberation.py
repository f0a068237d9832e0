"""Rooms: a direct path without delay, and a tail that falls as asked."""

import sys

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.laws import bursts
from speechtools.degradations.reverberation import Reverberation, room_response, simulate_response


def test_a_room_is_a_direct_path_and_a_tail_that_falls():
    response = room_response(np.random.default_rng(0), 0.3)
    assert len(response) == 4800 and np.abs(response).argmax() == 0
    early, late = response[1:800], response[-800:]
    # 60 dB in 0.3 s: 50 dB from the first twentieth of a second to the last.
    fall = 20 * np.log10(np.sqrt(np.mean(early**2)) / np.sqrt(np.mean(late**2)))
    assert fall == pytest.approx(50, abs=2)


@pytest.mark.parametrize("rt60", [0.2, 0.4, 0.9])
def test_simulated_rooms_have_the_reverberation_time_that_was_asked_for(rt60):
    for seed in range(8):
        response = simulate_response(np.random.default_rng(seed), rt60, distance=2.0)
        assert response[0] == 1 and len(response) == round(16000 * rt60)
        # Schroeder integration, from -15 to -30 dB
        curve = np.cumsum(np.square(response, dtype=np.float64)[::-1])[::-1]
        curve = 10 * np.log10(curve / curve[0])
        times = np.searchsorted(-curve, [15, 30]) / 16000
        assert 60 / 15 * (times[1] - times[0]) == pytest.approx(rt60, rel=0.2)


def test_the_direct_path_is_weaker_farther_away():
    def direct_share(distance):
        responses = [simulate_response(np.random.default_rng(seed), 0.5, distance) for seed in range(8)]
        return np.mean([1 / np.square(response).sum() for response in responses])

    assert direct_share(0.5) > 2 * direct_share(1.5) > 4 * direct_share(4.0)


def test_a_number_is_a_room():
    def room(first_room):
        impulse = np.zeros(8000, dtype=np.float32)
        impulse[0] = 1
        return Reverberation(rooms=1, first_room=first_room)(impulse, np.random.default_rng())

    np.testing.assert_array_equal(room(3), room(3))
    assert not np.allclose(room(3), room(1003), atol=1e-3)


def test_reverberant_speech_is_aligned_with_clean_and_has_its_level():
    clean = bursts(2.0)
    for seed in range(8):
        reverberant = Reverberation(distance=0.5)(clean, np.random.default_rng(seed))
        assert np.square(reverberant).mean() == pytest.approx(np.square(clean).mean(), rel=1e-3)
        impulse = np.eye(1, 16000, 1000, dtype=np.float32)[0]
        response = Reverberation(distance=0.5)(impulse, np.random.default_rng(seed))
        np.testing.assert_allclose(response[:1000], 0, atol=1e-4)
        assert abs(response[1000]) > 0.1


def test_recorded_responses_are_resampled_and_begin_with_the_direct_path(tmp_path):
    recorded = np.zeros((4000, 2))
    recorded[400, 0], recorded[1200, 0] = -0.5, -0.25  # after 50 ms and 150 ms
    soundfile.write(tmp_path / "hall.wav", recorded, 8000, subtype="FLOAT")
    clean = bursts(1.0)
    # a band that 8 kHz carries
    spectrum = np.fft.rfft(clean)
    spectrum[np.fft.rfftfreq(clean.size, 1 / 16000) > 3000] = 0
    clean = np.fft.irfft(spectrum, clean.size).astype(np.float32)
    echo = clean + 0.5 * np.pad(clean, (1600, 0))[: clean.size]
    degraded = Reverberation(folder=str(tmp_path))(clean, np.random.default_rng(0))
    gain = np.sqrt(np.square(clean).mean() / np.square(echo).mean())
    inner = slice(100, -100)  # the filter of the resampling rings at the edges
    np.testing.assert_allclose(degraded[inner], gain * echo[inner], atol=0.02 * np.abs(echo).max())


def test_without_pyroomacoustics_recorded_responses_remain(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(SpeechtoolsError, match=r"pyroomacoustics.*degradations\].*folder"):
        Reverberation()
    with pytest.raises(CorpusError, match="no audio file"):
        Reverberation(folder=str(tmp_path))
    soundfile.write(tmp_path / "hall.wav", np.eye(1, 100)[0], 16000)
    assert Reverberation(folder=str(tmp_path))(bursts(1.0), np.random.default_rng(0)).shape == (16000,)


@pytest.mark.parametrize(
    "options, name", [({"rt60": 0}, "rt60"), ({"distance": 20}, "distance"), ({"rooms": 0}, "rooms")]
)
def test_impossible_options_are_refused_by_name(options, name):
    with pytest.raises(ConfigError, match=name):
        Reverberation(**options)
