"""Damaged recordings: they are read whole, or refused."""

import io
import warnings
from pathlib import Path

import numpy as np
import soundfile
from fuzzing import mutations

from speechtools import audio
from speechtools.audio.sources import _Memory
from speechtools.core.errors import AudioError

RATE = 16000
#: Container, sample type and channels of the recordings before they are damaged.
FORMATS = [
    ("WAV", "PCM_16", 1),
    ("WAV", "PCM_24", 2),
    ("WAV", "FLOAT", 1),
    ("WAVEX", "PCM_16", 1),
    ("WAV", "IMA_ADPCM", 1),
    ("WAV", "GSM610", 1),
    ("FLAC", "PCM_16", 1),
    ("OGG", "VORBIS", 1),
    ("OGG", "OPUS", 1),
    ("MP3", "MPEG_LAYER_III", 1),
    ("AIFF", "PCM_16", 1),
    ("AU", "PCM_16", 1),
    ("CAF", "PCM_16", 1),
    ("NIST", "PCM_16", 1),
    ("W64", "PCM_16", 1),
    ("RF64", "PCM_16", 1),
    ("VOC", "PCM_16", 1),
]
SECONDS = 0.4
#: Bytes of a sample.
WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
#: Bytes that are not read as samples although damage may have added them: a short run behind the end, or a chunk.
UNREAD = 4096


class Recordings:
    """Read damaged recordings with :func:`speechtools.audio.read`, and a few with a model."""

    #: One in so many recordings is scored by a model.
    EACH_SCORED = 25

    def __init__(self, folder: Path):
        self.path = folder / "recording.bin"
        rng = np.random.default_rng(0)
        time = np.arange(round(SECONDS * RATE)) / RATE
        self.contents = []
        for container, subtype, channels in FORMATS:
            wave = 0.3 * np.sin(2 * np.pi * 300 * time) + 0.05 * rng.standard_normal(len(time))
            stream = io.BytesIO()
            wave = np.stack([wave] * channels, axis=1).astype(np.float32)
            soundfile.write(stream, wave, RATE, format=container, subtype=subtype)
            self.contents.append(stream.getvalue())
        self.headers = [len(content) - (_bytes_of_samples(content) or 0) for content in self.contents]
        self.lengths = [len(audio.read(content)) for content in self.contents]
        self.model = _tiny_model()

    def __call__(self, rng: np.random.Generator) -> str:
        """Check one damaged recording; return what became of it."""
        number = int(rng.integers(len(FORMATS)))
        content, length, container = self.contents[number], self.lengths[number], FORMATS[number][0]
        damage = int(rng.integers(8))
        if damage == 0:
            content, least, most = mutations.truncate(rng, content), length, length
        elif damage == 1:
            content, least, most = mutations.append_noise(rng, content), length, np.inf
        elif damage == 2:
            other = int(rng.integers(len(FORMATS)))
            least = length + (self.lengths[other] if FORMATS[other][0] == container else 0)
            content, most = content + self.contents[other], np.inf
        else:
            kinds = (*mutations.BYTES, *[mutations.change_number] * 4) if container == "NIST" else mutations.BYTES
            content, least, most = mutations.mutate(rng, content, kinds), 1, np.inf
            if container == "OGG" and rng.integers(4):
                content = mutations.fix_ogg(content)
        is_scored = rng.integers(self.EACH_SCORED) == 0
        if is_scored:
            return self._score(content)
        return self._read(content, self.headers[number], least, most, in_memory=bool(rng.integers(2)))

    def _read(self, content: bytes, header: int, least: float, most: float, in_memory: bool) -> str:
        recording: object = content
        if not in_memory:
            self.path.write_bytes(content)
            recording = self.path
        samples = _read_or_refuse(recording)
        if len(content) % 8 == 0 and len(content) > len(self.path.name):  # bytes and files are read alike
            self.path.write_bytes(content)
            other = _read_or_refuse(self.path if in_memory else content)
            assert (samples is None) == (other is None), "read from memory or from a file alone"
            assert samples is None or np.array_equal(samples, other)
        if samples is None:
            return "refused"
        assert isinstance(samples, np.ndarray) and samples.dtype == np.float32 and samples.ndim == 1
        assert np.isfinite(samples).all()
        assert least - 1 <= len(samples) <= most + 1, f"{len(samples)} samples, expected {least} to {most}"
        payload = _bytes_of_samples(content)
        assert payload is None or payload + header + UNREAD > len(content), f"{payload} of {len(content)} bytes"
        seconds = audio.duration(recording)
        assert abs(seconds * RATE - len(samples)) <= 2 + 1e-3 * len(samples), f"{len(samples)} samples in {seconds} s"
        return "read"

    def _score(self, content: bytes) -> str:
        self.path.write_bytes(content)
        ((path, report),) = self.model.assess_files([self.path])
        assert path == self.path
        if isinstance(report, AudioError):
            if report.__cause__ is not None and "cannot be processed" in str(report):
                raise report.__cause__
            return "refused"
        assert np.isfinite(report.score) and np.isfinite(report.frame_scores).all()
        return "scored"


def _bytes_of_samples(content: bytes) -> int | None:
    """Return the bytes that the samples take in a file; None if they are compressed, or in several sections."""
    try:
        info = soundfile.info(_Memory(content))  # BytesIO raises errors in seek, which are hidden
    except soundfile.SoundFileError:
        return None
    width = None if info.format == "FLAC" else WIDTHS.get(info.subtype)
    return width and info.frames * info.channels * width


def _read_or_refuse(recording: object) -> np.ndarray | None:
    try:
        return audio.read(recording, RATE)
    except AudioError:
        return None


def _tiny_model():
    import torch

    from speechtools import build
    from speechtools.inference import QualityNet

    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(0)
        net = build("quality/blstm", hidden_size=3, linear_size=3)
        features = build("features/magnitude", log1p=True)
        return QualityNet({"quality": net}, {"sample_rate": RATE, "scale": "raw_nb", "features": features})
