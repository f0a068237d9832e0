"""Damaged files of arrays: voices of ``speechtools enroll`` and d-vectors of ``speechtools embed``."""

import io
import zipfile
from pathlib import Path

import numpy as np
from fuzzing import mutations

from speechtools.cli.embed import read_dvectors, write_dvectors
from speechtools.core.errors import ConfigError
from speechtools.speaker import voices as voice_files
from speechtools.speaker.voices import Voice, Voices, read_voices, write_voices

SIZE = 16
_TYPES = (np.float64, np.float16, np.int64, np.bool_, np.complex64, ">f4", "S5", "U1", object, "M8[s]")
_VALUES = (np.nan, np.inf, -np.inf, 0.0, 1e30, -1.0, 1e-40)


def unit_vectors(count: int) -> np.ndarray:
    """Return d-vectors (count, SIZE) in float32."""
    vectors = np.random.default_rng(0).standard_normal((count, SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class VoiceFiles:
    """Read damaged files of voices."""

    def __init__(self, folder: Path):
        self.path = folder / "voices.npz"
        vectors = unit_vectors(3)
        self.voices = {
            name: Voice(vector, number + 1, 2.5 * number, "2026-03-01 14:05")
            for number, (name, vector) in enumerate(zip(["anna", "bob", "çelik"], vectors, strict=True))
        }
        write_voices(self.path, Voices("f00d", self.voices))
        self.content = self.path.read_bytes()

    def __call__(self, rng: np.random.Generator) -> str:
        """Check one damaged file; return what became of it."""
        is_damaged_whole = rng.integers(2) == 0
        if is_damaged_whole:
            self.path.write_bytes(mutations.mutate(rng, self.content))
        else:
            arrays = damage_arrays(rng, self.content)
            if "checksum" in arrays and rng.integers(4):
                del arrays["checksum"]
                arrays["checksum"] = np.array(voice_files._checksum(arrays))
            self.path.write_bytes(pack(rng, arrays))
        try:
            content = read_voices(self.path, *(("f00d", SIZE) if rng.integers(2) else ()))
        except ConfigError:
            return "refused"
        for name, voice in content.voices.items():
            assert isinstance(name, str) and name.strip()
            assert voice.voiceprint.dtype == np.float32 and voice.voiceprint.ndim == 1
            assert 0 < np.linalg.norm(voice.voiceprint.astype(float)) < 1.01
            assert voice.recordings >= 0 and np.isfinite(voice.seconds) and isinstance(voice.date, str)
            if is_damaged_whole:
                assert np.array_equal(voice.voiceprint, self.voices[name].voiceprint)
        assert not is_damaged_whole or list(content.voices) == list(self.voices)
        return "read"


class DVectorFiles:
    """Read damaged files of d-vectors."""

    def __init__(self, folder: Path):
        self.path = folder / "d-vectors.npz"
        self.dvectors = dict(zip(["a.wav", "b.wav", "ç.flac", "d/e.mp3"], unit_vectors(4), strict=True))
        write_dvectors(self.path, self.dvectors, "f00d")
        self.content = self.path.read_bytes()

    def __call__(self, rng: np.random.Generator) -> str:
        """Check one damaged file; return what became of it."""
        is_damaged_whole = rng.integers(2) == 0
        if is_damaged_whole:
            self.path.write_bytes(mutations.mutate(rng, self.content))
        else:
            self.path.write_bytes(pack(rng, damage_arrays(rng, self.content)))
        try:
            dvectors, model, *_ = read_dvectors(self.path)
        except ConfigError:
            return "refused"
        for file, dvector in dvectors.items():
            assert isinstance(file, str), file
            assert dvector.dtype == np.float32 and dvector.ndim == 1 and np.isfinite(dvector).all()
            if is_damaged_whole:
                assert np.array_equal(dvector, self.dvectors[file])
        assert len({len(dvector) for dvector in dvectors.values()}) <= 1
        assert not is_damaged_whole or (list(dvectors) == list(self.dvectors) and model in ("f00d", ""))
        return "read"


def damage_arrays(rng: np.random.Generator, content: bytes) -> dict[str, np.ndarray]:
    """Change one or two arrays of an .npz file."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    for _ in range(rng.integers(1, 3)):
        name = sorted(arrays)[rng.integers(len(arrays))]
        array = arrays[name]
        try:
            match rng.integers(8):
                case 0:
                    del arrays[name]
                case 1:
                    arrays[name] = array.astype(_TYPES[rng.integers(len(_TYPES))])
                case 2:
                    arrays[name] = array[None]
                case 3:
                    arrays[name] = array[:-1] if rng.integers(2) else array[..., :0]
                case 4:
                    arrays[name] = np.concatenate([array, array[:1]])
                case 5:
                    arrays[name] = array.copy()
                    arrays[name].flat[rng.integers(array.size)] = _VALUES[rng.integers(len(_VALUES))]
                case 6:
                    arrays[name] = np.array(["x\0y", "", " " * 9, "é" * 300, "1.5"])[rng.integers(5) :]
                case 7:
                    arrays[name] = arrays[sorted(arrays)[rng.integers(len(arrays))]]
        except (ValueError, TypeError, IndexError):  # the array cannot be changed in this way
            pass
    return arrays


def pack(rng: np.random.Generator, arrays: dict[str, np.ndarray]) -> bytes:
    """Write an .npz file; one array in three files is damaged, with a correct checksum of the archive."""
    stream = io.BytesIO()
    damaged = sorted(arrays)[rng.integers(len(arrays))] if arrays and rng.integers(3) == 0 else None
    compression = zipfile.ZIP_DEFLATED if rng.integers(6) == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, allow_pickle=True)
            content = entry.getvalue()
            if name == damaged:
                content = mutations.mutate(rng, content, mutations.TEXT)
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()
