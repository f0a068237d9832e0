"""Locating noise: what is made noisy, which frames count, and nets with known frame scores."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechtools.core import metrics
from speechtools.core.errors import ConfigError
from speechtools.quality.localization import PartlyNoisy, localization_metrics, partly_degraded_set, partly_noisy_set
from tests.quality.test_data import quality_row

RATE = 16000


@pytest.fixture
def rows(tmp_path):
    """Six smooth utterances, and two types of noise, of which one has two recordings."""

    rows = []
    for number in range(6):
        time = np.arange(RATE - 777 * number) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (120 + 20 * number) * time) * (0.7 + 0.3 * np.sin(9 * time))
        rows.append(quality_row(ID=f"clean-{number}", path=tmp_path / f"clean-{number}.wav"))
        soundfile.write(rows[-1].path, wave, RATE)
    for number, noise_type in enumerate(["white", "hiss", "white"]):
        path = tmp_path / f"noise-{number}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, 5000), RATE)
        rows.append(quality_row(ID=f"noisy-{number}", subset="noisy", noise_type=noise_type, noise=path))
    return rows


class FakeNet:
    """A net whose frame scores are ``score`` of the windows (time, n_fft), zero-padded at the end."""

    def __init__(self, score, n_fft=512, hop_length=256):
        self.score, self.features = score, SimpleNamespace(n_fft=n_fft, hop_length=hop_length)

    def assess_samples(self, samples):
        n_fft, hop = self.features.n_fft, self.features.hop_length
        count = 1 + -(-max(len(samples) - n_fft, 0) // hop)
        padded = np.pad(samples, (0, (count - 1) * hop + n_fft - len(samples)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        return SimpleNamespace(frame_scores=np.asarray(self.score(windows), dtype=np.float64))


def rough(windows):
    """Detect noise: neighbouring samples differ, unlike those of the smooth utterances."""
    change = np.square(np.diff(windows, axis=1)).sum(axis=1)
    return change > 0.05 * np.square(windows).sum(axis=1)


def detector(windows):
    return np.where(rough(windows), 1.0, 4.0)


# --------------------------------------------------------------------------------------------------- the utterances


def test_every_clean_utterance_once_and_the_noises_in_turn(rows):
    examples = partly_noisy_set(rows, RATE)
    assert [example.name for example in examples] == [row.ID for row in rows[:6]]
    assert [example.noise_type for example in examples] == ["hiss", "white"] * 3
    again = partly_noisy_set(rows[:6] + rows[:5:-1], RATE)  # the noises in another order
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(examples, again, strict=True))
    # The two recordings of white noise take turns too.
    noises = [example.noisy - example.clean for example in examples[1::2]]
    noises = [noise[np.abs(noise) > 0][:1000] for noise in noises]
    similarity = [abs(np.corrcoef(noises[0], noise)[0, 1]) for noise in noises[1:]]
    assert similarity[0] < 0.2 and similarity[1] > 0.9
    some = partly_noisy_set(rows, RATE, max_utterances=3)
    assert [example.name for example in some] == ["clean-0", "clean-2", "clean-4"], "spread over the set"


@pytest.mark.parametrize("snr_db", [-6.0, 12.0])
def test_noise_is_in_the_stretch_alone_and_at_its_snr(rows, snr_db):
    for example in partly_noisy_set(rows, RATE, snr_db, start=0.25, end=0.5):
        assert (example.start, example.end) == pytest.approx((len(example.clean) / 4, len(example.clean) / 2), abs=0.5)
        before = example.clean[: example.start]
        scale = example.noisy[: example.start] @ before / (before @ before)
        noise = example.noisy - scale * example.clean
        assert scale <= 1 + 1e-6 and np.abs(np.delete(noise, np.s_[example.start : example.end])).max() < 1e-6
        powers = [np.mean(x[example.start : example.end] ** 2) for x in (scale * example.clean, noise)]
        assert 10 * np.log10(powers[0] / powers[1]) == pytest.approx(snr_db, abs=0.01)


def test_what_cannot_be_mixed_is_left_out_and_named(rows, tmp_path, caplog):
    soundfile.write(rows[7].noise, np.zeros(5000), RATE)
    soundfile.write(rows[3].path, np.full(2, 0.1), RATE)
    assert [example.name for example in partly_noisy_set(rows, RATE)] == ["clean-1", "clean-5"]
    assert f"clean-0 with the noise {rows[7].noise} is left out" in caplog.text and "clean-3.wav" in caplog.text
    missing = [replace(row, noise=row.noise and tmp_path / "gone.wav") for row in rows]
    with pytest.raises(ConfigError, match="All 6 utterances were left out"):
        partly_noisy_set(missing, RATE)


@pytest.mark.parametrize(
    "chosen, options, message",
    [
        (slice(None), {"start": 0.7, "end": 0.3}, "start=0.7, end=0.3"),
        (slice(None), {"max_utterances": 0}, "max_utterances: 0"),
        (slice(6), {}, "6 clean utterances and 0 types of noise"),
    ],
)
def test_impossible_sets_are_refused(rows, chosen, options, message):
    with pytest.raises(ConfigError, match=message):
        partly_noisy_set(rows[chosen], RATE, **options)


# -------------------------------------------------------------------------------------------------------- the frames


@pytest.mark.parametrize("seed", range(4))
def test_a_frame_counts_only_where_all_its_samples_are_of_one_kind(seed):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1000, 3000))
    # The first two stretches reach an edge of the utterance.
    start, end = 0 if seed == 0 else 300, length if seed == 1 else 700
    n_fft, hop = int(rng.integers(20, 100)), int(rng.integers(5, 20))
    example = PartlyNoisy("one", "white", np.ones(length), np.ones(length), start, end)
    before, after = (rng.permutation(1 + -(-(length - n_fft) // hop)) for _ in range(2))
    answers = iter([before, after])  # the clean utterance is scored first
    results = localization_metrics(FakeNet(lambda windows: next(answers), n_fft, hop), [example])
    kinds = [{start <= n < end for n in range(i * hop, min(i * hop + n_fft, length))} for i in range(len(after))]
    clean, noisy = ([i for i, kind in enumerate(kinds) if kind == {which}] for which in (False, True))
    assert results["auc"] == results["auc_within"] == metrics.auc(after[clean], after[noisy])
    for name, frames in (("clean_drop", clean), ("noisy_drop", noisy)):
        assert results[name] == pytest.approx(before[frames].mean() - after[frames].mean())


def test_an_utterance_without_frames_of_both_kinds_is_refused():
    samples = np.ones(700)
    example = PartlyNoisy("short", "white", samples, samples, 200, 500)
    with pytest.raises(ConfigError, match="short has 0 clean and 0 noisy frames"):
        localization_metrics(FakeNet(detector), [example])
    with pytest.raises(ConfigError, match="got none"):
        localization_metrics(FakeNet(detector), [])


# ------------------------------------------------------------------------------------------------------- known nets


def test_known_frame_scores(rows):
    examples = partly_noisy_set(rows, RATE)

    def test(score):
        return localization_metrics(FakeNet(score), examples)

    for sign, auc in ((1, 1.0), (-1, 0.0)):
        drops = {"clean_drop": 0.0, "noisy_drop": 3.0 * sign}
        results = {"auc": auc, "auc_within": auc, "utterances": 6} | drops
        assert test(lambda windows, sign=sign: sign * detector(windows)) == results
    distance = localization_metrics(FakeNet(lambda windows: -detector(windows)), examples, higher_is_better=False)
    assert distance == test(detector), "1 is good in both directions"
    constant = test(lambda windows: np.full(len(windows), detector(windows).mean()))
    assert constant["auc_within"] == 0.5
    assert constant["clean_drop"] == pytest.approx(constant["noisy_drop"]) and constant["clean_drop"] > 1
    # An effect of the noise on the clean frames is only in their drop.
    lowered = test(lambda windows: detector(windows) - 0.5 * rough(windows).any())
    assert (lowered["auc"], lowered["auc_within"]) == (1.0, 1.0)
    assert (lowered["clean_drop"], lowered["noisy_drop"]) == pytest.approx((0.5, 3.5))
    # Another level for every utterance, here by its pitch, lowers the pooled area alone.
    shifted = test(lambda w: detector(w) + 1000 * np.square(np.diff(w[0])).sum() / np.square(w[0]).sum())
    assert shifted["auc_within"] == 1.0 and 0.5 < shifted["auc"] < 1.0
    assert shifted["clean_drop"] == pytest.approx(0, abs=1e-3)


# ------------------------------------------------------------------------------------------------ other degradations


@pytest.mark.parametrize("chain", ["noise(snr_db=0, share=0.33)", "clipping(level=0.1, share=0.33)"])
def test_a_chain_degrades_a_third_of_every_clean_utterance(rows, chain):
    examples = partly_degraded_set(rows, RATE, chain)
    assert [example.name for example in examples] == [row.ID for row in rows[:6]]
    for example in examples:
        assert example.end - example.start == pytest.approx(0.33 * len(example.clean), rel=0.02)
        outside = np.r_[example.noisy[: example.start], example.noisy[example.end :]]
        assert np.array_equal(outside, np.r_[example.clean[: example.start], example.clean[example.end :]])
    again = partly_degraded_set(rows, RATE, chain)
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(examples, again, strict=True))
    assert len({example.start for example in examples}) > 1, "not always at one place"


def test_frames_between_two_losses_can_be_ignored(rows):
    examples = partly_degraded_set(rows, RATE, "loss(rate=0.5, packet_ms=60, concealment=none, share=0.8)")
    net = FakeNet(lambda windows: np.where((windows == 0).sum(axis=1) > 50, 1.0, 4.0), n_fft=64, hop_length=64)
    changed = localization_metrics(net, examples, changed_only=True)
    assert changed["auc"] > 0.95 > localization_metrics(net, examples)["auc"]


def test_utterances_that_the_chain_leaves_as_they_are_cannot_be_used(rows):
    with pytest.raises(ConfigError, match="left out"):
        partly_degraded_set(rows, RATE, "loss(rate=0)")
    with pytest.raises(ConfigError, match="no clean utterance"):
        partly_degraded_set(rows[6:], RATE, "loss")
