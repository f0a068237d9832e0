"""QualityStream: what a stream gives is what the whole recording gives."""

import numpy as np
import pytest
import torch

from speechtools.audio import read
from speechtools.audio.streams import OffsetFilter
from speechtools.core import model_folder
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.registry import build
from speechtools.inference import QualityNet

RATE = 16000
FEATURES = {"plugin": "features/running-mel", "n_mels": 20, "parts": 8}
NETWORK = {"plugin": "quality/conv-lstm", "input_size": 29, "channels": 6, "hidden_size": 8, "linear_size": 6}


def write(folder, features=FEATURES, network=NETWORK, seed=0):
    torch.manual_seed(seed)
    net = build(**network)
    torch.nn.init.normal_(net.output.weight, std=3.0)
    torch.nn.init.normal_(net.cause_output.weight, std=5.0)
    entries = {"sample_rate": RATE, "scale": "raw_nb", "features": build(**features), "quality": net}
    return model_folder.write_model(folder, entries, {"quality": net}, {}, "")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("model") / "pretrained")
    return QualityNet.from_hparams(folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def samples():
    """Noisy speech whose noise begins late, with a short gap and a digital silence."""
    from speechtools import SAMPLE

    wav = np.tile(read(SAMPLE), 4)[: 9 * RATE].copy()
    wav[4 * RATE :] += 0.05 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    wav[2 * RATE : 2 * RATE + 3200] = 0.0
    wav[6 * RATE : 7 * RATE + 1000] = 0.0
    return wav


def updates_of(stream, samples, size):
    blocks = [stream.feed(samples[start : start + size]) for start in range(0, len(samples), size)]
    return [*blocks, stream.finish()]


def joined(updates, name):
    return np.concatenate([getattr(update, name) for update in updates])


@pytest.mark.parametrize("size", [37, 1600, 10**6])
def test_frame_scores_are_those_of_the_recording(model, samples, size):
    updates = updates_of(model.stream(), samples[: 5 * RATE + 77], size)
    report = model.assess_samples(OffsetFilter()(samples[: 5 * RATE + 77]))
    scores, causes = joined(updates, "frame_scores"), joined(updates, "causes")
    assert scores == pytest.approx(report.frame_scores, abs=2e-3)
    assert joined(updates, "times") == pytest.approx(report.times)
    assert causes == pytest.approx(report.causes, abs=2e-3)
    assert updates[-1].score == pytest.approx(report.score, abs=1e-3)


def test_the_same_for_all_blocks(model, samples):
    whole = updates_of(model.stream(), samples, len(samples))
    for size in (160, 4001):
        parts = updates_of(model.stream(), samples, size)
        assert joined(parts, "frame_scores") == pytest.approx(joined(whole, "frame_scores"), abs=1e-4, nan_ok=True)
        assert parts[-1].score == pytest.approx(whole[-1].score, abs=1e-4)


def test_digital_silence_is_left_out(model, samples):
    updates = updates_of(model.stream(), samples, 1600)
    scores, times = joined(updates, "frame_scores"), joined(updates, "times")
    silent = times[np.isnan(scores)]
    assert silent.min() == pytest.approx(6.02, abs=0.05) and silent.max() == pytest.approx(7.05, abs=0.05)
    assert updates[-1].score == pytest.approx(np.nanmean(scores), abs=1e-6)


def test_scores_are_known_within_the_latency(model, samples):
    stream, latest = model.stream(), 0.0
    assert stream.latency == pytest.approx(0.192)
    for start in range(0, 2 * RATE, 160):
        update = stream.feed(samples[start : start + 160])
        now = (start + 160) / RATE
        if len(update.times):
            latest = update.times[-1] - 0.016  # where the frame begins
        assert now < 0.5 or now - latest < stream.latency + 2 * 0.016 + 0.01


def test_regions_partition_the_stream(model, samples):
    updates = updates_of(model.stream(), samples, 1600)
    regions = [region for update in updates for region in update.regions]
    assert regions[0].start == 0.0 and regions[-1].end == pytest.approx(9.0, abs=0.03)
    assert [r.end for r in regions[:-1]] == pytest.approx([r.start for r in regions[1:]])
    assert any(update.regions for update in updates[:-1])
    scores = joined(updates, "frame_scores")
    for region in regions:
        inside = scores[round(region.start / 0.016) : round(region.end / 0.016)]
        if not np.isnan(inside).all():
            assert region.score == pytest.approx(np.nanmean(inside), abs=1e-4)


def test_memory_is_bounded(model, samples):
    stream = model.stream()
    for _ in range(8):
        for start in range(0, len(samples), 8000):
            stream.feed(samples[start : start + 8000])
    assert len(stream.samples) < RATE and len(stream.fate) < 100 and len(stream.results) < 100
    assert len(stream.regions.scores) < 70 / model.hop


@pytest.mark.parametrize("count", [0, 1, 100, 700])
def test_a_stream_that_ends_at_once(model, samples, count):
    stream = model.stream()
    stream.feed(samples[:count])
    update = stream.finish()
    frames = 0 if not count else model.features.num_frames(count)
    assert len(update.frame_scores) == frames
    assert len(stream.finish().frame_scores) == 0


def test_another_rate(model, samples):
    update = updates_of(model.stream(sample_rate=48000), np.repeat(samples[:RATE], 3), 4800)[-1]
    assert np.isfinite(update.score)


def test_mistakes(model, samples):
    with pytest.raises(ConfigError, match="as a whole"):
        QualityNet.from_hparams().stream()
    stream = model.stream()
    with pytest.raises(AudioError, match="NaN"):
        stream.feed(np.array([np.nan], np.float32))
    with pytest.raises(ConfigError, match="rate"):
        model.stream(sample_rate=-1)
    stream.finish()
    with pytest.raises(AudioError, match="finished"):
        stream.feed(samples[:10])
