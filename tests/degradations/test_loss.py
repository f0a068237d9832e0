"""Packet loss: shares and runs of lost packets, and what is heard instead of them."""

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.core.runs import true_runs
from speechtools.degradations.loss import PacketLoss, lost_packets

TIME = np.arange(28800) / 16000
VOICE = sum(np.sin(2 * np.pi * 140 * k * TIME + k) / k for k in range(1, 6)).astype(np.float32)


def lose(clean, seed=0, **options):
    return PacketLoss(**options)(clean, np.random.default_rng(seed))


@pytest.mark.parametrize("rate, burst", [(0.1, 3.0), (0.02, 1.0), (0.5, 1.5)])
def test_rate_is_the_share_of_lost_packets_and_burst_the_mean_length_of_their_runs(rate, burst):
    lost = lost_packets(200_000, rate, burst, np.random.default_rng(0))
    lengths = [end - start for start, end in true_runs(lost)]
    assert lost.mean() == pytest.approx(rate, rel=0.05)
    assert np.mean(lengths) == pytest.approx(burst, rel=0.05)


def test_a_rate_above_0_loses_a_packet():
    for seed in range(20):
        assert lost_packets(5, 0.001, 2, np.random.default_rng(seed)).any()
    np.testing.assert_array_equal(lose(VOICE, rate=0), VOICE)


@pytest.mark.parametrize("packet_ms", [10, 60])
def test_received_samples_are_unchanged(packet_ms):
    options = {"rate": 0.1, "packet_ms": packet_ms}
    lost = lose(VOICE + 10, concealment="none", **options) == 0
    packets = lost.reshape(-1, 16 * packet_ms)
    assert lost.any() and (packets.all(axis=1) | ~packets.any(axis=1)).all()
    for concealment in ("none", "noise", "repeat"):
        overlap = 64 if concealment == "repeat" else 0
        blended = np.convolve(lost, np.ones(overlap + 1))[: lost.size] > 0
        degraded = lose(VOICE, concealment=concealment, **options)
        np.testing.assert_array_equal(degraded[~blended], VOICE[~blended])
        assert not np.allclose(degraded[lost], VOICE[lost], atol=0.01)


def test_repetition_continues_a_periodic_signal_without_clicks_and_fades_out():
    options = {"rate": 0.02, "burst": 5, "packet_ms": 20, "seed": 3}
    [(start, end), *_] = true_runs(lose(VOICE + 10, concealment="none", **options) == 0)
    degraded = lose(VOICE, concealment="repeat", **options)
    assert start > 0 and end - start > 960
    np.testing.assert_allclose(degraded[start : start + 160], VOICE[start : start + 160], atol=0.2)
    np.testing.assert_array_equal(degraded[start + 960 : end], 0)
    assert np.abs(np.diff(degraded)).max() <= 1.1 * np.abs(np.diff(VOICE)).max()


def test_comfort_noise_has_the_level_and_the_band_of_the_last_packet():
    options = {"rate": 0.1, "packet_ms": 20}
    lost = lose(VOICE + 10, concealment="none", **options) == 0
    noise = lose(VOICE, concealment="noise", **options)[lost]
    assert np.std(noise) == pytest.approx(np.std(VOICE), rel=0.1)
    power = np.square(np.abs(np.fft.rfft(noise)))
    assert power[np.fft.rfftfreq(noise.size, 1 / 16000) < 1000].sum() > 0.9 * power.sum()


@pytest.mark.parametrize(
    "options, name",
    [
        ({"rate": 1.5}, "rate"),
        ({"rate": 0.6, "burst": 1}, "burst"),
        ({"burst": 0.5}, "burst"),
        ({"packet_ms": 25}, "packet_ms"),
        ({"concealment": "zeros"}, "concealment"),
    ],
)
def test_impossible_options_are_refused_by_name(options, name):
    with pytest.raises(ConfigError, match=name):
        PacketLoss(**options)
