"""The corpus that needs no download: synthetic speech by espeak-ng, written in TIMIT's layout.

Each pseudo-speaker is one voice variant of espeak-ng with an English accent and a pitch, a rate, a vocal-tract length
(the formants are moved by resampling), a spectral tilt and a level of their own. As in TIMIT, everyone says ten
sentences: two that all share (sa), five that several speakers share (sx) and three that nobody else says (si). No
speaker, and no sentence but sa, is in both splits. Whoever prints numbers from this corpus must call it synthetic.
"""

import functools
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechtools.core.files import fingerprint
from speechtools.core.jobs import map_in_processes
from speechtools.core.registry import plugin
from speechtools.corpora._spoken import (
    ACCENTS,
    SAMPLE_RATE,
    VARIANTS,
    check_at_least,
    complete,
    pitch_of,
    say,
    telling_disk_errors,
    whole_duration,
    write_audio,
    write_text,
)
from speechtools.corpora._spoken import cache_folder as _cache_folder
from speechtools.corpora.sentences import SA, SI, SX, composed
from speechtools.corpora.utterance import Utterance

_VERSION = 1  # part of the folder's fingerprint: raise it whenever the samples change

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

    def utterance(self, folder: Path, duration: float) -> Utterance:
        speaker = self.speaker
        return Utterance(self.utt_id, speaker.name.lower(), speaker.split, folder / self.relative, duration, self.text)


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
        check_at_least(name, value, least)
    options = {"seed": seed, "num_train_speakers": num_train_speakers, "num_test_speakers": num_test_speakers}
    folder = _cache_folder(data_folder) / f"builtin-{fingerprint({'version': _VERSION, **options})}"
    plan = _plan(seed, num_train_speakers, num_test_speakers)
    return complete(
        folder,
        plan,
        make=functools.partial(_make, folder),
        done=_said,
        readme=_README.format(speakers=num_train_speakers + num_test_speakers, seed=seed),
        name="built-in corpus",
        num_workers=num_workers,
        megabytes_each=0.12,
    )


def builtin_noises(data_folder: str | Path | None = None, seed: int = 0, num_workers: int | None = None) -> Path:
    """The folder of generated noises (see :mod:`speechtools.audio.noises`), made when first asked for.

    144 training noises ``<family>-<nn>.wav`` and ``engine.wav``, ``white.wav``, ``street.wav``, ``baby_cry.wav``, 10 s
    each, in ``noises-<fingerprint>`` inside ``data_folder`` or the cache folder that :func:`builtin` uses.

    Raises
    ------
    ConfigError
        A negative seed, or fewer than 1 worker.
    CorpusError
        The folder cannot be written, or the disk is full. What was made before is kept.
    """
    check_at_least("seed", seed, 0)
    check_at_least("num_workers", 1 if num_workers is None else num_workers, 1)
    folder = _cache_folder(data_folder) / f"noises-{fingerprint({'version': _VERSION, 'seed': seed})}"
    from speechtools.audio.noises import TEST_NOISES, training_noises  # scipy, which is slow to load

    names = [*training_noises(), *TEST_NOISES]
    missing = [name for name in names if not whole_duration(folder / f"{name}.wav")]
    with telling_disk_errors(folder, "built-in noises", len(missing), megabytes_each=0.32):
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
        fundamental, pitch = pitch_of(variant, warp, height)
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
    speaker, rng = item.speaker, np.random.default_rng(item.seed)
    samples = say(
        item.text,
        speaker,
        pitch=int(np.clip(speaker.pitch + rng.integers(-2, 3), 0, 99)),
        pitch_range=speaker.pitch_range,
        words_per_minute=speaker.words_per_minute * rng.uniform(0.94, 1.06),
        seed=int(rng.integers(2**31)),
    )
    level = 10 ** ((speaker.level_db + rng.uniform(-1.5, 1.5)) / 20)
    gain = min(level / np.sqrt(np.mean(samples**2)), 0.9 / np.abs(samples).max())
    silence = rng.uniform(0.10, 0.25, 2) * SAMPLE_RATE
    samples = np.pad(gain * samples, silence.astype(int))
    return (samples + 10 ** (-75 / 20) * rng.standard_normal(len(samples))).astype(np.float32)


def _make(folder: Path, item: _Item) -> None:
    path = folder / item.relative
    samples = _speak(item)
    write_text(path.with_suffix(".TXT"), f"0 {len(samples)} {item.text}\n")
    write_audio(path, samples)  # last: its presence says that the utterance is done


def _make_noise(folder: Path, seed: int, name: str) -> None:
    from speechtools.audio.noises import make_noise

    write_audio(folder / f"{name}.wav", make_noise(name, seed))


def _said(path: Path) -> float:
    """Seconds of an utterance that is there and whole with its text, 0 otherwise."""
    return whole_duration(path) if os.path.isfile(path.with_suffix(".TXT")) else 0.0
