"""The corpus that needs no download: synthetic speech by espeak-ng, written in TIMIT's layout.

Each pseudo-speaker is one voice variant of espeak-ng with an English accent and a pitch, a rate, a vocal-tract length
(the formants are moved by resampling), a spectral tilt and a level of their own. As in TIMIT, everyone says ten
sentences: two that all share (sa), five that several speakers share (sx) and three that nobody else says (si). No
speaker, and no sentence but sa, is in both splits. Whoever prints numbers from this corpus must call it synthetic.
"""

import contextlib
import errno
import functools
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from speechtools.data import audio
from speechtools.data.espeak import Synthesizer
from speechtools.data.manifests import Utterance, fingerprint, write_aside, write_rows
from speechtools.data.processes import map_in_processes
from speechtools.data.sentences import SA, SI, SX, composed
from speechtools.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.registry import plugin

SAMPLE_RATE = 16000
_VERSION = 1  # part of the folder's fingerprint: raise it whenever the samples change

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

_MANIFEST_FIELDS = ["utt_id", "speaker", "split", "path", "duration", "text"]
_README = """\
SYNTHETIC SPEECH. Nobody ever said this: espeak-ng spoke it for the toolkit speechtools, as {speakers} pseudo-speakers.
Figures measured on it say nothing about real speech, and must be labelled as synthetic.

Layout: as in TIMIT, TRAIN|TEST/DR<accent>/<speaker>/<sentence>.WAV (16 kHz, 16 bit) and .TXT (first sample, last
sample, sentence). SA: said by every speaker. SX: by several. SI: by one. A speaker's first letter, F or M, tells a
high voice from a low one. manifest.csv lists all utterances; it is written last, when all the others are there.
Made with the seed {seed}. The folder may be deleted; it is made again when it is needed.
"""


@dataclass(frozen=True, slots=True)
class _Speaker:
    name: str
    split: str
    accent: int  # index into ACCENTS
    variant: str
    pitch: int  # espeak-ng's scale, 50 is the variant's own
    pitch_range: int
    words_per_minute: float
    warp: float  # formants and pitch are multiplied by it
    tilt_db: float  # gain above 1 kHz against below
    level_db: float  # RMS of the speech, dB re full scale


@dataclass(frozen=True, slots=True)
class _Item:
    """One utterance to make: all that its samples depend on."""

    speaker: _Speaker
    sentence: str  # SA1, SX17, SI140, …
    text: str
    seed: tuple[int, ...]

    @property
    def utt_id(self) -> str:
        return f"{self.speaker.name}_{self.sentence}".lower()

    @property
    def relative(self) -> str:
        return f"{self.speaker.split.upper()}/DR{self.speaker.accent + 1}/{self.speaker.name}/{self.sentence}.WAV"


@plugin("corpus/builtin")
def builtin(
    data_folder: str | Path | None = None,
    seed: int = 0,
    num_train_speakers: int = 126,
    num_test_speakers: int = 48,
    num_workers: int | None = None,
) -> Iterator[Utterance]:
    """The built-in synthetic corpus, spoken by espeak-ng when it is first asked for, and read from the disk afterwards.

    The files depend on the seed and the numbers of speakers alone: same options, same bytes. What a killed run has made
    is kept and completed.

    Parameters
    ----------
    data_folder : str or Path, optional
        Where the corpus is kept, in a subfolder ``builtin-<fingerprint of the options>``. By default the folder that
        the environment variable SPEECHTOOLS_CACHE names, or else ``~/.cache/speechtools``.
    seed : int
        Seeds voices, texts and samples.
    num_train_speakers, num_test_speakers : int
        Pseudo-speakers in each split; each says 10 utterances of 2 to 5 seconds.
    num_workers : int, optional
        Processes that speak; by default one for each core.

    Returns
    -------
    Iterator[Utterance]
        Sorted by id, ``<speaker>_<sentence>`` in lower case; 16 kHz, 16-bit WAV. What the reader ``corpus/timit``
        finds in the same folder is the same.

    Raises
    ------
    ConfigError
        A number of speakers below 1, a negative seed, or fewer than 1 worker.
    CorpusError
        The folder cannot be written, or the disk is full. What was made before is kept.
    SpeechtoolsError
        The package espeakng-loader, of the extra ``recipes``, is not installed.

    Example
    -------
    >>> import tempfile
    >>> utterances = list(builtin(tempfile.mkdtemp(), num_train_speakers=1, num_test_speakers=1, num_workers=1))
    >>> len(utterances), len({utterance.speaker for utterance in utterances})
    (20, 2)
    """
    for name, value, least in (
        ("num_train_speakers", num_train_speakers, 1),
        ("num_test_speakers", num_test_speakers, 1),
        ("seed", seed, 0),
        ("num_workers", 1 if num_workers is None else num_workers, 1),
    ):
        _check_at_least(name, value, least)
    options = {"seed": seed, "num_train_speakers": num_train_speakers, "num_test_speakers": num_test_speakers}
    folder = _cache_folder(data_folder) / f"builtin-{fingerprint({'version': _VERSION, **options})}"
    plan = _plan(seed, num_train_speakers, num_test_speakers)
    durations = [_said(folder / item.relative) for item in plan]  # s, 0 where there is no whole file
    missing = [item for item, duration in zip(plan, durations, strict=True) if not duration]
    manifest = folder / "manifest.csv"
    if missing or not os.path.isfile(manifest):
        if missing:
            Synthesizer()  # a missing package is told before any worker starts
        readme = _README.format(speakers=num_train_speakers + num_test_speakers, seed=seed)
        with _telling_disk_errors(folder, "built-in corpus", len(missing), megabytes_each=0.12):
            _write_text(folder / "README.txt", readme)
            for _ in map_in_processes(
                functools.partial(_make, folder), missing, num_workers, "Speaking the built-in corpus"
            ):
                pass
            durations = [_said(folder / item.relative) for item in plan]
            write_rows(manifest, _MANIFEST_FIELDS, map(_row, plan, durations))
    return itertools.starmap(
        lambda item, duration: Utterance(
            item.utt_id, item.speaker.name.lower(), item.speaker.split, folder / item.relative, duration, item.text
        ),
        zip(plan, durations, strict=True),
    )


def builtin_noises(data_folder: str | Path | None = None, seed: int = 0, num_workers: int | None = None) -> Path:
    """The folder of generated noises (see :mod:`speechtools.data.noise_generators`), made when first asked for.

    144 training noises ``<family>-<nn>.wav`` and ``engine.wav``, ``white.wav``, ``street.wav``, ``baby_cry.wav``, 10 s
    each, in ``noises-<fingerprint>`` inside ``data_folder`` or the cache folder that :func:`builtin` uses.

    Raises
    ------
    ConfigError
        A negative seed, or fewer than 1 worker.
    CorpusError
        The folder cannot be written, or the disk is full. What was made before is kept.
    """
    _check_at_least("seed", seed, 0)
    _check_at_least("num_workers", 1 if num_workers is None else num_workers, 1)
    folder = _cache_folder(data_folder) / f"noises-{fingerprint({'version': _VERSION, 'seed': seed})}"
    from speechtools.data.noise_generators import TEST_NOISES, training_noises  # scipy, which is slow to load

    names = [*training_noises(), *TEST_NOISES]
    missing = [name for name in names if not _duration(folder / f"{name}.wav")]
    with _telling_disk_errors(folder, "built-in noises", len(missing), megabytes_each=0.32):
        for _ in map_in_processes(
            functools.partial(_make_noise, folder, seed), missing, num_workers, "Making the noises"
        ):
            pass
    return folder


# What is said, and by whom ------------------------------------------------------------------------------------------


def _speakers(seed: int, num_train: int, num_test: int) -> list[_Speaker]:
    rng = np.random.default_rng([seed, 0])
    total = num_train + num_test
    variants, accents = [], []
    while len(variants) < total:  # every variant and accent once before any comes again
        variants += [list(VARIANTS)[i] for i in rng.permutation(len(VARIANTS))]
    while len(accents) < total:
        accents += rng.permutation(len(ACCENTS)).tolist()
    offsets = {variant: rng.uniform(size=2) for variant in VARIANTS}
    uses = dict.fromkeys(VARIANTS, 0)
    names: set[str] = set()
    speakers = []
    for i in range(total):
        variant = variants[i]
        # Speakers of one variant are spread evenly over vocal-tract length and pitch (Kronecker sequence).
        tract, height = np.mod(offsets[variant] + uses[variant] * np.array([0.7549, 0.5698]), 1.0)
        uses[variant] += 1
        warp = 0.90 * (1.13 / 0.90) ** tract
        lowest, highest = max(80, 0.78 * VARIANTS[variant]), min(280, 1.28 * VARIANTS[variant])  # Hz
        fundamental = lowest * (highest / lowest) ** height  # Hz
        pitch = 50 + 50 * np.log2(fundamental / (VARIANTS[variant] * warp))
        letter = "F" if fundamental >= 160 else "M"
        while (name := letter + "".join(rng.choice(list("ABCDEFGHJKLMNPRSTW"), 3)) + "0") in names:
            pass
        names.add(name)
        speakers.append(
            _Speaker(
                name=name,
                split="train" if i < num_train else "test",
                accent=accents[i],
                variant=variant,
                pitch=int(np.clip(np.rint(pitch), 5, 95)),
                pitch_range=int(rng.integers(30, 75)),
                words_per_minute=rng.uniform(140, 195),
                warp=warp,
                tilt_db=rng.uniform(-6, 5),
                level_db=float(np.clip(rng.normal(-26, 2.5), -32, -20)),
            )
        )
    return speakers


def _plan(seed: int, num_train: int, num_test: int) -> list[_Item]:
    speakers = _speakers(seed, num_train, num_test)
    rng = np.random.default_rng([seed, 1])
    shuffled = rng.permutation(len(SX)).tolist()
    cut = int(np.clip(round(len(SX) * num_train / len(speakers)), 10, len(SX) - 10))
    shared = {"train": itertools.cycle(shuffled[:cut]), "test": itertools.cycle(shuffled[cut:])}
    own = enumerate(itertools.chain([SI[i] for i in rng.permutation(len(SI))], composed(seed)), start=len(SX) + 1)
    own_of = {int(i): list(itertools.islice(own, 3)) for i in rng.permutation(len(speakers))}
    plan = []
    for i, speaker in enumerate(speakers):
        texts = [(f"SA{k}", text) for k, text in enumerate(SA, start=1)]
        texts += [(f"SX{k + 1}", SX[k]) for k in itertools.islice(shared[speaker.split], 5)]
        texts += [(f"SI{k}", text) for k, text in own_of[i]]
        plan += [_Item(speaker, name, text, (seed, 2, i, j)) for j, (name, text) in enumerate(texts)]
    return sorted(plan, key=lambda item: item.utt_id)


# Speaking -----------------------------------------------------------------------------------------------------------


def _speak(item: _Item) -> np.ndarray:
    """The samples of one utterance, float32, 16 kHz, shape (samples,)."""
    from scipy.signal import lfilter  # slow to load, and needed only when speaking

    speaker, rng = item.speaker, np.random.default_rng(item.seed)
    samples = Synthesizer().speak(
        item.text,
        voice=f"{ACCENTS[speaker.accent]}+{speaker.variant}",
        pitch=int(np.clip(speaker.pitch + rng.integers(-2, 3), 0, 99)),
        pitch_range=speaker.pitch_range,
        rate=round(speaker.words_per_minute * rng.uniform(0.94, 1.06) / speaker.warp),  # warping changes the pace back
        seed=int(rng.integers(2**31)),
    )
    samples = soxr.resample(samples, Synthesizer.sample_rate * speaker.warp, SAMPLE_RATE)
    low = lfilter([0.18], [1, -0.82], samples)  # one pole at 500 Hz
    samples = low + 10 ** (speaker.tilt_db / 20) * (samples - low)
    samples = _trim(lfilter([1, -1], [1, -0.98], samples))  # no DC
    level = 10 ** ((speaker.level_db + rng.uniform(-1.5, 1.5)) / 20)
    gain = min(level / np.sqrt(np.mean(samples**2)), 0.9 / np.abs(samples).max())
    silence = rng.uniform(0.10, 0.25, 2) * SAMPLE_RATE
    samples = np.pad(gain * samples, silence.astype(int))
    return (samples + 10 ** (-75 / 20) * rng.standard_normal(len(samples))).astype(np.float32)


def _trim(samples: np.ndarray, frame: int = 160) -> np.ndarray:
    """Without the ends that lie 45 dB below the loudest frame."""
    count = len(samples) // frame
    energy = np.mean(np.square(samples[: count * frame].reshape(count, frame)), axis=1)  # (frames,)
    loud = np.flatnonzero(energy > energy.max() * 10**-4.5)
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def _make(folder: Path, item: _Item) -> None:
    path = folder / item.relative
    samples = _speak(item)
    _write_text(path.with_suffix(".TXT"), f"0 {len(samples)} {item.text}\n")
    _write_audio(path, samples)  # last: its presence says that the utterance is done


def _make_noise(folder: Path, seed: int, name: str) -> None:
    from speechtools.data.noise_generators import make_noise

    _write_audio(folder / f"{name}.wav", make_noise(name, seed))


# Files and processes ------------------------------------------------------------------------------------------------


def _check_at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}; got {value!r}. Change {name}.")


def _cache_folder(data_folder: str | Path | None) -> Path:
    folder = data_folder or os.environ.get("SPEECHTOOLS_CACHE") or "~/.cache/speechtools"
    return Path(os.path.abspath(Path(folder).expanduser()))


def _duration(path: Path) -> float:
    """Seconds of an audio file that is there and whole, 0 otherwise."""
    try:
        return audio.duration(path) if os.path.isfile(path) else 0.0
    except AudioError:  # cut short by a crash of the machine, or by hand: it is made again
        return 0.0


def _said(path: Path) -> float:
    """Seconds of an utterance that is there and whole with its text, 0 otherwise."""
    return _duration(path) if os.path.isfile(path.with_suffix(".TXT")) else 0.0


def _row(item: _Item, duration: float) -> dict:
    speaker = item.speaker
    values = (item.utt_id, speaker.name.lower(), speaker.split, item.relative, f"{duration:.4f}", item.text)
    return dict(zip(_MANIFEST_FIELDS, values, strict=True))


def _write_text(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def _write_audio(path: Path, samples: np.ndarray) -> None:
    try:
        audio.write(path, samples, SAMPLE_RATE)
    except SpeechtoolsError as error:
        if isinstance(error.__cause__, OSError):  # the whole preparation stops, with one message about the folder
            raise error.__cause__ from None
        raise


@contextlib.contextmanager
def _telling_disk_errors(folder: Path, what: str, count: int, megabytes_each: float) -> Iterator[None]:
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
