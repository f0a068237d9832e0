"""Keywords that need no download: synthetic speech by espeak-ng, each keyword said many times by every pseudo-speaker.

A pseudo-speaker is a voice of espeak-ng with an accent, a vocal-tract length (the formants are moved by resampling), a
pitch, a pace, a liveliness and a spectral tilt of their own. From one rendition to the next, pitch, pace, emphasis,
intonation, level, room, microphone and background noise change. Voices come from the seed and the name of a source:
the speakers of two sources are not the same. Whoever prints numbers from this corpus must call it synthetic.
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.core.files import fingerprint
from speechtools.core.registry import plugin
from speechtools.corpora._spoken import (
    ACCENTS,
    SAMPLE_RATE,
    VARIANTS,
    cache_folder,
    check_at_least,
    complete,
    pitch_of,
    say,
    whole_duration,
    write_audio,
)
from speechtools.corpora.utterance import Utterance

_VERSION = 1  # part of the folder's fingerprint: raise it whenever the samples change
# How much one rendition differs from the next. With far less, the mean spectrum of a recording alone tells the speaker.
_WARP_SPREAD = 0.02  # standard deviation of the logarithm of the vocal-tract factor
_TILT_SPREAD_DB = 2.0  # standard deviation of the tilt
_PITCH_SPREAD = 4.0  # standard deviation on espeak-ng's scale: about a semitone
_PACE = (0.85, 1.18)  # times the speaker's own
_SNR_DB = (15, 32)
_DIRECT_TO_REVERBERANT_DB = (2, 18)
_MICROPHONE_DB = 4.0  # standard deviation of the microphone's gain at _BANDS
_BANDS = (0, 250, 600, 1200, 2200, 3800, 8000)  # Hz

_README = """\
SYNTHETIC SPEECH. Nobody ever said this: espeak-ng spoke it for the toolkit speechtools, as {speakers} pseudo-speakers,
each saying {keywords} {renditions} times, those of the test {test_renditions} times.
Figures measured on it say nothing about real speech, and must be labelled as synthetic.

Layout: <keyword>/<speaker>/<rendition>.wav (16 kHz, 16 bit), the keyword somewhere in a recording of one or two
seconds. manifest.csv lists all utterances; it is written last, when all the others are there.
Made with the seed {seed} and the source {source!r}. The folder may be deleted; it is made again when it is needed.
"""


@dataclass(frozen=True, slots=True)
class _Speaker:
    name: str
    split: str
    accent: int  # index into ACCENTS
    variant: str
    pitch: float  # espeak-ng's scale, 50 is the variant's own
    pitch_range: float
    words_per_minute: float
    warp: float  # formants and pitch are multiplied by it
    tilt_db: float  # gain above 1 kHz against below


@dataclass(frozen=True, slots=True)
class _Item:
    """One rendition to make: all that its samples depend on."""

    speaker: _Speaker
    keyword: str
    number: int
    seed: tuple[int, ...]

    @property
    def utt_id(self) -> str:
        return "_".join(f"{self.keyword}-{self.speaker.name}-{self.number:02d}".split())

    @property
    def relative(self) -> str:
        return f"{self.keyword}/{self.speaker.name}/{self.number:02d}.wav"

    def utterance(self, folder: Path, duration: float) -> Utterance:
        speaker = self.speaker
        return Utterance(self.utt_id, speaker.name, speaker.split, folder / self.relative, duration, self.keyword)


@plugin("corpus/builtin-keywords")
def builtin_keywords(
    data_folder: str | Path | None = None,
    keywords: Sequence[str] = ("OK Google", "Hey Google"),
    num_speakers: int = 60,
    num_test_speakers: int = 20,
    renditions: int = 10,
    test_renditions: int | None = None,
    seed: int = 0,
    source: str = "",
    num_workers: int | None = None,
) -> Iterator[Utterance]:
    """Synthetic keywords, spoken by espeak-ng when they are first asked for, and read from the disk afterwards.

    The files depend on the options alone: same options, same bytes. A rendition depends on the seed, the source, the
    split, the number of its speaker, the keyword and its own number, so that it is the same in a larger corpus, and the
    test speakers do not change with the number of the others. What a killed run has made is kept and completed.

    Parameters
    ----------
    data_folder : str or Path, optional
        Where the corpus is kept, in a subfolder ``keywords-<fingerprint of the options>``. By default the folder that
        the environment variable SPEECHTOOLS_CACHE names, or else ``~/.cache/speechtools``.
    keywords : list of str
        What is said, in English spelling. Each is the name of a folder too.
    num_speakers, num_test_speakers : int
        Pseudo-speakers of the splits train and test; the latter may be 0.
    renditions, test_renditions : int
        How often each of them says each keyword, those of the split test as often as the others unless given.
    seed : int
        Seeds voices and samples.
    source : str
        Part of the seed and of the speakers' names: letters, digits, ``_`` and ``-``. Corpora of different sources
        have different speakers, whatever else they share.
    num_workers : int, optional
        Processes that speak; by default one for each core.

    Returns
    -------
    Iterator[Utterance]
        Sorted by id, ``<keyword>-<speaker>-<rendition>`` with underscores for blanks; 16 kHz, 16-bit WAV of one or two
        seconds. What ``corpus/keyword-folder`` finds in the same folder is the same, but for the split.

    Raises
    ------
    ConfigError
        A number that is too small, keywords that are no list, two that are the same or one that can be no folder's
        name or that espeak-ng could not say, or a source with other characters.
    CorpusError
        The folder cannot be written, or the disk is full. What was made before is kept.
    SpeechtoolsError
        The package espeakng-loader, of the extra ``recipes``, is not installed; a keyword comes out silent.

    Example
    -------
    >>> import tempfile
    >>> said = list(builtin_keywords(tempfile.mkdtemp(), ["Hello"], 2, 1, renditions=3, num_workers=1))
    >>> len(said), said[0].utt_id, said[0].text
    (9, 'Hello-test-00000-00', 'Hello')
    """
    test_renditions = renditions if test_renditions is None else test_renditions
    for name, value, least in (
        ("num_speakers", num_speakers, 1),
        ("num_test_speakers", num_test_speakers, 0),
        ("renditions", renditions, 1),
        ("test_renditions", test_renditions, 1),
        ("seed", seed, 0),
        ("num_workers", 1 if num_workers is None else num_workers, 1),
    ):
        check_at_least(name, value, least)
    keywords = _checked(keywords)
    if not isinstance(source, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", source):
        raise ConfigError(
            f"source={source!r} becomes a part of names of files: give letters, digits, hyphens and underscores alone."
        )
    options = {
        "keywords": keywords,
        "num_speakers": num_speakers,
        "num_test_speakers": num_test_speakers,
        "renditions": renditions,
        "test_renditions": test_renditions,
        "seed": seed,
        "source": source,
    }
    folder = cache_folder(data_folder) / f"keywords-{fingerprint({'version': _VERSION, **options})}"
    return complete(
        folder,
        _plan(**options),
        make=functools.partial(_make, folder),
        done=whole_duration,
        readme=_README.format(
            speakers=num_speakers + num_test_speakers,
            keywords=" and ".join(f'"{keyword}"' for keyword in keywords),
            renditions=renditions,
            test_renditions=test_renditions,
            seed=seed,
            source=source,
        ),
        name="built-in keyword corpus",
        num_workers=num_workers,
        megabytes_each=0.05,
    )


def _checked(keywords: Sequence[str]) -> list[str]:
    if isinstance(keywords, str) or not isinstance(keywords, Sequence) or not keywords:
        raise ConfigError(f"keywords={keywords!r} is no list of keywords. Give a list, as in ['OK Google'].")
    keywords = [str(keyword) for keyword in keywords]  # a yaml makes numbers of digits
    for number, keyword in enumerate(keywords):
        if (
            not re.search(r"[^\W_]", keyword)
            or keyword.strip(" .") != keyword
            or re.search(r'[\x00-\x1f/\\:*?"<>|]', keyword)
        ):
            raise ConfigError(
                f"The keyword {keyword!r} can be no folder's name, or holds nothing to say: write it in letters and "
                "digits, without / \\ : * ? < > | and double quotes, and with no blank or dot at either end."
            )
        if _slug(keyword) in map(_slug, keywords[:number]):
            raise ConfigError(
                f"The keyword {keyword!r} comes twice; neither case counts nor whether a blank or an underscore stands "
                "between words. Remove one of the two."
            )
    return keywords


def _slug(keyword: str) -> str:
    return "_".join(keyword.lower().split())


# Who says what ------------------------------------------------------------------------------------------------------


def _number(*parts) -> int:
    """A number that stands for a text and a seed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "big")


def _speakers(split: str, count: int, seed: int, source: str) -> list[_Speaker]:
    root = _number("voices", seed, source, split)
    rng = np.random.default_rng([root, 0])
    offsets = {variant: rng.uniform(size=2) for variant in VARIANTS}
    speakers = []
    for i in range(count):
        # Every variant once before any comes again, each time in another order; and so with the accents.
        variant_round, variant_place = divmod(i, len(VARIANTS))
        accent_round, accent_place = divmod(i, len(ACCENTS))
        variant = list(VARIANTS)[
            np.random.default_rng([root, 1, variant_round]).permutation(len(VARIANTS))[variant_place]
        ]
        accent = int(np.random.default_rng([root, 2, accent_round]).permutation(len(ACCENTS))[accent_place])
        # Speakers of one variant are spread evenly over vocal-tract length and pitch (Kronecker sequence).
        tract, height = np.mod(offsets[variant] + variant_round * np.array([0.7549, 0.5698]), 1.0)
        warp = 0.90 * (1.13 / 0.90) ** tract
        _, pitch = pitch_of(variant, warp, height)
        rng = np.random.default_rng([root, 3, i])
        speakers.append(
            _Speaker(
                name=f"{source}{'-' * bool(source)}{split}-{i:05d}",
                split=split,
                accent=accent,
                variant=variant,
                pitch=float(np.clip(pitch, 8, 92)),
                pitch_range=rng.uniform(30, 75),
                words_per_minute=rng.uniform(140, 195),
                warp=warp,
                tilt_db=rng.uniform(-6, 5),
            )
        )
    return speakers


def _plan(
    keywords: Sequence[str],
    num_speakers: int,
    num_test_speakers: int,
    renditions: int,
    test_renditions: int,
    seed: int,
    source: str,
) -> list[_Item]:
    speakers = [
        *_speakers("train", num_speakers, seed, source),
        *_speakers("test", num_test_speakers, seed, source),
    ]
    plan = [
        _Item(speaker, keyword, k, (_number("renditions", seed, speaker.name, keyword), k))
        for keyword in keywords
        for speaker in speakers
        for k in range(test_renditions if speaker.split == "test" else renditions)
    ]
    return sorted(plan, key=lambda item: item.utt_id)


# Speaking -----------------------------------------------------------------------------------------------------------


def _render(item: _Item) -> np.ndarray:
    """The samples of one rendition, float32, 16 kHz, shape (samples,)."""
    from scipy.signal import fftconvolve, lfilter  # slow to load, and needed only when speaking

    rng = np.random.default_rng(item.seed)
    emphasis = rng.uniform(-1, 1)  # who speaks up is livelier, higher, brighter and louder
    speaker = replace(  # nobody holds larynx and lips quite the same twice
        item.speaker,
        warp=item.speaker.warp * np.exp(rng.normal(0, _WARP_SPREAD)),
        tilt_db=item.speaker.tilt_db + 2 * emphasis + rng.normal(0, _TILT_SPREAD_DB),
    )
    speech = say(
        item.keyword + str(rng.choice([".", "!", "?", ","])),  # the mark chooses the intonation
        speaker,
        pitch=int(np.clip(np.rint(speaker.pitch + 3 * emphasis + rng.normal(0, _PITCH_SPREAD)), 0, 99)),
        pitch_range=int(np.clip(np.rint(speaker.pitch_range + 15 * emphasis + rng.normal(0, 6)), 0, 99)),
        words_per_minute=speaker.words_per_minute * rng.uniform(*_PACE),
        seed=int(rng.integers(2**31)),
    )
    level = 10 ** ((-27 + 4 * emphasis + rng.normal(0, 2.5)) / 20)
    speech = speech * min(level / np.sqrt(np.mean(speech**2)), 0.7 / np.abs(speech).max())
    # A room: behind the direct sound, noise that dies away.
    decay = rng.uniform(0.10, 0.40)  # s to -60 dB
    time = np.arange(1, int(decay * SAMPLE_RATE)) / SAMPLE_RATE  # s
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail *= 10 ** (-rng.uniform(*_DIRECT_TO_REVERBERANT_DB) / 20) / np.sqrt(np.sum(tail**2))
    before, after = (rng.uniform(0.10, 0.55, 2) * SAMPLE_RATE).astype(int)
    samples = np.pad(fftconvolve(speech, np.concatenate([[1.0], tail])), (before, after))
    # A background, between white and pink, that nobody would mistake for the speech.
    noise = lfilter([1], [1, -rng.uniform(0, 0.9)], rng.standard_normal(len(samples)))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(*_SNR_DB) / 20)
    samples = _through_microphone(samples + noise, rng)
    return (samples * min(1.0, 0.95 / np.abs(samples).max())).astype(np.float32)


def _through_microphone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The samples (samples,) with a smooth colouring that is another in every recording."""
    gains_db = rng.normal(0, _MICROPHONE_DB, len(_BANDS))  # (bands,)
    spectrum = np.fft.rfft(samples)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))  # Hz
    return np.fft.irfft(spectrum * 10 ** (np.interp(frequencies, _BANDS, gains_db) / 20), len(samples))


def _make(folder: Path, item: _Item) -> None:
    write_audio(folder / item.relative, _render(item))
