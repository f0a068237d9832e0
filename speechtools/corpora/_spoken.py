"""What the corpora that espeak-ng speaks share: its voices, how one of them says something, and how files are kept."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.files import write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.core.rows import write_rows
from speechtools.corpora.espeak import Synthesizer
from speechtools.corpora.utterance import Utterance

SAMPLE_RATE = 16000

#: The "dialect regions": DR1 to DR8.
ACCENTS = ("en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us", "en-us-nyc")

#: Voice variants and the median fundamental (Hz) of each, measured with the voice en-us at pitch 50 on four sentences.
#: Left out is every variant whose normalised autocorrelation at the pitch lag has a median below 0.70 or reaches 0.60
#: in less than 60 % of the frames (whispers and croaks), whose level spans less than 15 dB from the 15th to the 90th
#: percentile (echoes), whose energy from 1.5 to 4 kHz lies more than 17.5 dB below the whole (muffled), that clips or
#: comes within 2.5 % of it, whose pitch is outside 75 to 270 Hz or jumps octaves; robots by name; those that draw on
#: the C library's random numbers, which cannot be seeded alone (Reed, caleb); and, of two whose long-term mel spectra
#: differ by less than 1.4 dB, one.
VARIANTS = {
    "Alex": 105, "Alicia": 256, "Andrea": 251, "Andy": 97, "Annie": 248, "AnxiousAndy": 103, "Denis": 101,
    "Gene": 97, "Hugo": 113, "Mario": 109, "Michael": 109, "Mike": 92, "Nguyen": 155, "adam": 104, "aunty": 175,
    "belinda": 235, "boris": 104, "edward": 104, "f1": 182, "f2": 200, "f3": 216, "f4": 184, "f5": 210, "fast": 103,
    "grandma": 206, "iven2": 103, "iven3": 103, "john": 104, "kaukovalta": 102, "klatt3": 103, "klatt4": 104,
    "linda": 232, "m1": 94, "m2": 102, "m3": 106, "m4": 95, "m5": 104, "m6": 102, "m7": 108, "max": 103,
    "michel": 107, "norbert": 104, "pablo": 115, "pedro": 104, "sandro": 101, "shelby": 184, "travis": 105,
    "victor": 97,
}  # fmt: skip

MANIFEST_FIELDS = ["utt_id", "speaker", "split", "path", "duration", "text"]


class Voice(Protocol):
    """What makes a pseudo-speaker sound like nobody else."""

    accent: int  # index into ACCENTS
    variant: str
    warp: float  # formants and pitch are multiplied by it
    tilt_db: float  # gain above 1 kHz against below


class Item(Protocol):
    """One utterance to make."""

    relative: str  # path inside the corpus

    def utterance(self, folder: Path, duration: float) -> Utterance:
        """What the reader yields for it."""


# Speaking -----------------------------------------------------------------------------------------------------------


def pitch_of(variant: str, warp: float, height: float) -> tuple[float, float]:
    """The fundamental (Hz) at ``height`` in [0, 1) of what a variant can reach, and the pitch that makes it so.

    The pitch is on espeak-ng's scale, where 50 is the variant's own; ``warp`` moves the fundamental too.
    """
    lowest, highest = max(80, 0.78 * VARIANTS[variant]), min(280, 1.28 * VARIANTS[variant])  # Hz
    fundamental = lowest * (highest / lowest) ** height  # Hz
    return fundamental, 50 + 50 * np.log2(fundamental / (VARIANTS[variant] * warp))


def say(text: str, voice: Voice, pitch: int, pitch_range: int, words_per_minute: float, seed: int) -> np.ndarray:
    """The samples of a text in a voice at 16 kHz, at espeak-ng's level and without silence around, shape (samples,)."""
    from scipy.signal import lfilter  # slow to load, and needed only when speaking

    samples = Synthesizer().speak(
        text,
        voice=f"{ACCENTS[voice.accent]}+{voice.variant}",
        pitch=pitch,
        pitch_range=pitch_range,
        rate=round(words_per_minute / voice.warp),  # warping changes the pace back
        seed=seed,
    )
    if not np.any(samples):
        raise SpeechtoolsError(
            f"espeak-ng finds nothing to say in {text!r}: it came out silent. Write it in letters that English has."
        )
    samples = soxr.resample(samples, Synthesizer.sample_rate * voice.warp, SAMPLE_RATE)
    low = lfilter([0.18], [1, -0.82], samples)  # one pole at 500 Hz
    samples = low + 10 ** (voice.tilt_db / 20) * (samples - low)
    return _trim(lfilter([1, -1], [1, -0.98], samples))  # no DC


def _trim(samples: np.ndarray, frame: int = 160) -> np.ndarray:
    """Without the ends that lie 45 dB below the loudest frame."""
    count = len(samples) // frame
    energy = np.mean(np.square(samples[: count * frame].reshape(count, frame)), axis=1)  # (frames,)
    loud = np.flatnonzero(energy > energy.max() * 10**-4.5)
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


# Files and processes ------------------------------------------------------------------------------------------------


def complete(
    folder: Path,
    plan: Sequence[Item],
    make: Callable[[Item], None],
    done: Callable[[Path], float],
    readme: str,
    name: str,
    num_workers: int | None,
    megabytes_each: float,
) -> Iterator[Utterance]:
    """The utterances of a plan; what is not there yet is made now, and the manifest is written last.

    ``make`` makes an item, in other processes too; ``done`` gives the seconds of a file that is whole, 0 otherwise.
    """
    durations = [done(folder / item.relative) for item in plan]  # s, 0 where there is no whole file
    missing = [item for item, duration in zip(plan, durations, strict=True) if not duration]
    manifest = folder / "manifest.csv"
    if missing or not os.path.isfile(manifest):
        if missing:
            Synthesizer()  # a missing package is told before any worker starts
        with telling_disk_errors(folder, name, len(missing), megabytes_each):
            write_text(folder / "README.txt", readme)
            for _ in map_in_processes(make, missing, num_workers, f"Speaking the {name}"):
                pass
            durations = [done(folder / item.relative) for item in plan]
            write_rows(manifest, MANIFEST_FIELDS, (_row(folder, *each) for each in zip(plan, durations, strict=True)))
    return (item.utterance(folder, duration) for item, duration in zip(plan, durations, strict=True))


def _row(folder: Path, item: Item, duration: float) -> dict:
    said = item.utterance(folder, duration)
    values = (said.utt_id, said.speaker, said.split, item.relative, f"{duration:.4f}", said.text)
    return dict(zip(MANIFEST_FIELDS, values, strict=True))


def check_at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}; got {value!r}. Change {name}.")


def cache_folder(data_folder: str | Path | None) -> Path:
    folder = data_folder or os.environ.get("SPEECHTOOLS_CACHE") or "~/.cache/speechtools"
    return Path(os.path.abspath(Path(folder).expanduser()))


def whole_duration(path: Path) -> float:
    """Seconds of an audio file that is there and whole, 0 otherwise."""
    try:
        return audio.duration(path) if os.path.isfile(path) else 0.0
    except AudioError:  # cut short by a crash of the machine, or by hand: it is made again
        return 0.0


def write_text(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_audio(path: Path, samples: np.ndarray) -> None:
    try:
        audio.write(path, samples, SAMPLE_RATE)
    except SpeechtoolsError as error:
        if isinstance(error.__cause__, OSError):  # the whole preparation stops, with one message about the folder
            raise error.__cause__ from None
        raise


@contextlib.contextmanager
def telling_disk_errors(folder: Path, what: str, count: int, megabytes_each: float) -> Iterator[None]:
    """Turns an OSError inside the block into a CorpusError about the folder as a whole."""
    try:
        yield
    except OSError as error:
        remedy = "choose another place with data_folder or the environment variable SPEECHTOOLS_CACHE, and start again"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            size = max(1, round(count * megabytes_each))
            raise CorpusError(
                f"The disk is full: the {what} in {folder} needs about {size} MB for the {count} files that were "
                f"missing at the start. Nothing already made is lost: free that much, or {remedy}."
            ) from error
        raise CorpusError(
            f"The {what} cannot be written to {folder}: {error}. Nothing already made is lost: mend that, or {remedy}."
        ) from error
