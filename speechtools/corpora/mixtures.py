"""The Quality-Net paper's mixing protocol (section 3.1), for any corpus and any folder of noises.

Training: every utterance is used once; ``num_clean`` stay clean, each of the others meets one noise type at one SNR.
Test: every chosen utterance clean, and with every unseen noise type at every SNR. Validation is made as the test is,
from speakers and noise types that neither of the others has.

A *noise type* is what is kept apart between the splits. Files in a subfolder of a noise folder share the type that the
subfolder is named after (ESC-10's classes); a file that lies directly in it is a type of its own (G. Hu's 100 sounds),
but for a number behind a hyphen: ``rain-01.wav`` and ``rain-02.wav`` are both ``rain``.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.jobs import map_in_processes, progress_bar
from speechtools.corpora.utterance import Utterance

NoiseTypes = dict[str, list[Path]]
#: Enhances waveforms (samples,), a list of them at a time, and keeps their lengths.
Enhance = Callable[[list[np.ndarray]], list[np.ndarray]]

#: A mixture never exceeds this absolute sample, so that nothing clips; it is scaled down as a whole where it would.
PEAK_LIMIT = 0.99
#: One step of 16-bit audio: what never exceeds it is digital silence.
DIGITAL_SILENCE = 1.5 / 32768
#: Each process keeps so many samples in memory: 128 MB, 35 minutes at 16 kHz.
CACHE_SAMPLES = 2**25


@dataclass(frozen=True, slots=True)
class Mixture:
    """One file to be made: an utterance, clean or with a noise at an SNR (dB). ``seed`` chooses the noise's offset.

    ``subset`` is ``"clean"``, ``"noisy"`` or ``"enhanced"``: noisy, and then enhanced.
    """

    mixture_id: str
    split: str
    subset: str
    utt_id: str
    speaker: str
    speech: Path
    noise_type: str = ""
    noise: Path | None = None
    snr_db: float | None = None
    seed: int = 0


# ---------------------------------------------------------------------------------------------- noises and speakers


def read_noise_types(noise_folders: str | Path | Sequence[str | Path]) -> NoiseTypes:
    """Noise types and their files, sorted; from one folder or several.

    Raises
    ------
    CorpusError
        A folder is missing or holds no audio.
    """
    if isinstance(noise_folders, (str, Path)):
        noise_folders = [noise_folders]
    types: NoiseTypes = {}
    for root in map(Path, noise_folders):
        if not root.is_dir():
            raise CorpusError(f"The noise folder {root} does not exist. Give a folder of noise recordings.")
        found: NoiseTypes = {}
        for path in audio.find_audio(root):
            inside = path.relative_to(root)
            name = inside.parts[0] if len(inside.parts) > 1 else re.sub(r"-\d+$", "", path.stem)
            found.setdefault(name, []).append(path)
        if not found:
            raise CorpusError(f"The noise folder {root} holds no audio file. Give a folder of noise recordings.")
        for name, files in found.items():  # a type that two folders have is one type
            types.setdefault(name, []).extend(files)
    return dict(sorted(types.items()))


def select_noises(
    types: NoiseTypes, patterns: dict[str, str | Sequence[str] | None] | Sequence[str], role: str
) -> NoiseTypes:
    """The types that match shell-style patterns. A mapping also groups and renames: ``{street: [n12, n13]}``.

    A name without patterns (null) is left out: so a yaml's entry is taken away from the command line.

    Raises
    ------
    ConfigError
        A pattern matches no type.
    """
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, dict):
        # A list keeps the types' own names; a pattern that matches none stays, to be reported below.
        patterns = {
            name: [name] for pattern in patterns for name in [n for n in types if fnmatchcase(n, pattern)] or [pattern]
        }
    chosen: NoiseTypes = {}
    for name, group in patterns.items():
        for pattern in [group] if isinstance(group, str) else group or []:
            matching = [known for known in types if fnmatchcase(known, pattern)]
            if not matching:
                raise ConfigError(
                    f"{role}: no noise type matches {pattern!r}. The noise folder has: {_some(types)}. "
                    "Mend the pattern."
                )
            for known in matching:
                chosen.setdefault(name, []).extend(types[known])
    return chosen


def split_noises(
    types: NoiseTypes,
    test: dict[str, str | Sequence[str] | None] | Sequence[str],
    valid: Sequence[str] | int,
    num_train: int | None,
    seed: int,
    test_types: NoiseTypes | None = None,
    enhancer: Sequence[str] | int = 0,
) -> dict[str, NoiseTypes]:
    """Noise types of training, validation, test and the enhancer, no file in two of them.

    Parameters
    ----------
    types : dict
        All types of the noise folder.
    test : dict or list
        Patterns of the test types, looked up in ``test_types`` (a folder of their own), or else in ``types``.
    valid : list or int
        Patterns of the validation types, or how many to draw.
    num_train : int or None
        How many recordings to train on, of types drawn from the rest; None takes all.
    seed : int
        Of the draws.
    enhancer : list or int
        Patterns of the types that the enhancer is trained with, or how many to draw; 0: it has none.

    Raises
    ------
    ConfigError
        A pattern matches nothing, fewer types are there than asked for, or a type would be in two splits.
    """
    source = types if test_types is None else test_types
    chosen = {"test": select_noises(source, test, "test_noises")}
    # A type is kept out of training by its name too: the test may come from another folder that has it as well.
    taken = _names(chosen["test"], source)
    rest = {name: files for name, files in types.items() if name not in taken}
    names = [str(name) for name in np.random.default_rng([seed, 1]).permutation(list(rest))]
    # Lists first: what they name is not drawn for the other.
    for split, asked in sorted((("valid", valid), ("enhancer", enhancer)), key=lambda each: isinstance(each[1], int)):
        if split == "enhancer" and not asked:
            continue
        if isinstance(asked, int):
            if not 0 < asked < len(names):
                raise ConfigError(
                    f"{split}_noises={asked}: {len(names)} noise types remain beside those of the other sets, and "
                    "training needs at least one. Give more noises or a smaller number."
                )
            # Drawn from the end, so that the training types are the same whatever the number for validation.
            chosen[split] = {name: rest[name] for name in sorted(names[-asked:])}
        else:
            chosen[split] = select_noises(types, asked, f"{split}_noises")
            both = taken & _names(chosen[split], types)
            if both:
                others = "valid_noises or test_noises" if split == "enhancer" else "test_noises"
                raise ConfigError(f"{split}_noises and {others} share {sorted(both)[0]!r}. Give them different types.")
        taken |= _names(chosen[split], types)
        names = [name for name in names if name not in taken]
    if not names:
        raise ConfigError("No noise type is left for training. Give more noises, or fewer to validation and test.")
    left = sum(len(rest[name]) for name in names)
    if num_train is not None and not 0 < num_train <= left:
        raise ConfigError(
            f"num_train_noises={num_train}, but {left} noise recordings remain beside the types of validation and "
            "test. Give more noises or a smaller number."
        )
    wanted = left if num_train is None else num_train
    chosen["train"] = {}
    for name in names:
        if wanted > 0:
            chosen["train"][name] = rest[name][:wanted]
            wanted -= len(rest[name])
    chosen["train"] = dict(sorted(chosen["train"].items()))
    return chosen


def _names(chosen: NoiseTypes, types: NoiseTypes) -> set[str]:
    """The names of chosen types, and those that their files have in the folder."""
    files = {path for group in chosen.values() for path in group}
    return set(chosen) | {name for name, group in types.items() if files & set(group)}


def split_speakers(
    utterances: Iterable[Utterance], heldout_share: float, valid_share: float, seed: int, valid_from: str = "test"
) -> dict[str, list[Utterance]]:
    """Utterances of training, validation and test, no speaker in two of them.

    A corpus's own division is kept. Where it has no test speakers, ``heldout_share`` of all speakers is drawn for
    validation and test; where it has no validation speakers, ``valid_share`` of the test speakers is drawn for them,
    or of the training speakers, but at least 2, with ``valid_from="train"``.

    Raises
    ------
    CorpusError
        A speaker is in two splits of the corpus, or a split would be empty.
    """
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    split_of = {}
    for speaker, spoken in by_speaker.items():
        splits = {utterance.split for utterance in spoken}
        if len(splits) > 1:
            raise CorpusError(
                f"Speaker {speaker!r} is in several splits of the corpus ({', '.join(sorted(splits))}), so the test "
                "would not be on unheard speakers. Mend the corpus's lists."
            )
        split_of[speaker] = splits.pop()
    rng = np.random.default_rng([seed, 2])
    if "test" not in split_of.values():
        free = sorted(speaker for speaker, split in split_of.items() if split != "valid")
        for speaker in rng.permutation(free)[: round(heldout_share * len(free))]:
            split_of[str(speaker)] = "test"
    if "valid" not in split_of.values():
        pool = sorted(speaker for speaker, split in split_of.items() if (split or "train") == valid_from)
        fewest = 2 if valid_from == "train" else 0
        for speaker in rng.permutation(pool)[: max(fewest, round(valid_share * len(pool)))]:
            split_of[str(speaker)] = "valid"
    groups: dict[str, list[Utterance]] = {"train": [], "valid": [], "test": []}
    for speaker, spoken in by_speaker.items():
        groups[split_of[speaker] or "train"] += spoken
    for split, members in groups.items():
        if not members:
            raise CorpusError(
                f"The corpus has {len(by_speaker)} speakers, which leaves none for {split}. Use a corpus of more "
                "speakers, or raise heldout_share."
            )
        members.sort(key=lambda utterance: utterance.utt_id)
    return groups


def set_aside(groups: dict[str, list[Utterance]], share: float, seed: int) -> dict[str, list[Utterance]]:
    """The groups of :func:`split_speakers` with a share of the test speakers as one more group, ``enhancer``.

    Raises
    ------
    ConfigError
        The share would leave no test speaker, or is none of them.
    """
    if share == 0:
        return groups
    speakers = sorted({utterance.speaker for utterance in groups["test"]})
    count = round(share * len(speakers))
    if not 0 < count < len(speakers):
        raise ConfigError(
            f"enhancer_share={share} of the {len(speakers)} test speakers is {count} of them, but the enhancer and the "
            "test need at least one each. Give another share, or a corpus of more test speakers."
        )
    drawn = {str(name) for name in np.random.default_rng([seed, 7]).permutation(speakers)[:count]}
    return groups | {
        "test": [utterance for utterance in groups["test"] if utterance.speaker not in drawn],
        "enhancer": [utterance for utterance in groups["test"] if utterance.speaker in drawn],
    }


# --------------------------------------------------------------------------------------------------------- the plans


def plan_training(
    utterances: Sequence[Utterance],
    noises: NoiseTypes,
    snrs_db: Sequence[float],
    num_clean: int,
    mixtures_per_utterance: int,
    seed: int,
    clean_copies: bool = False,
    enhanced_share: float = 0.0,
) -> list[Mixture]:
    """Every utterance used once: ``num_clean`` stay clean, the others get one noise and one SNR each.

    ``enhanced_share`` of those others are to be enhanced after it.

    Noise recordings and SNRs are dealt so that each occurs as often as the others. ``mixtures_per_utterance`` above 1
    departs from the paper, for small corpora: the noisy utterances are used so often, with other noises and SNRs. So
    does ``clean_copies``, which adds the noisy utterances once more as they are, clean.
    """
    if not 0 <= num_clean <= len(utterances):
        raise ConfigError(
            f"num_clean_train={num_clean}, but the training split has {len(utterances)} utterances. "
            "Give a smaller number."
        )
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(len(utterances))
    enhanced = set(order[len(order) - round(enhanced_share * (len(order) - num_clean)) :])
    mixtures = [_clean("train", utterances[i]) for i in sorted(order[:num_clean])]
    noisy = np.tile(np.sort(order[num_clean:]), mixtures_per_utterance)
    recordings = [(noise_type, path) for noise_type, files in noises.items() for path in files]
    dealt = _deal(rng, recordings, len(noisy))
    snrs = _deal(rng, list(snrs_db), len(noisy))
    for number, (i, (noise_type, noise), snr_db) in enumerate(zip(noisy, dealt, snrs, strict=True)):
        noisy_one = _noisy("train", utterances[i], noise_type, noise, float(snr_db), number, seed)
        mixtures.append(_enhanced(noisy_one) if i in enhanced else noisy_one)
    if clean_copies:
        mixtures += [_clean("train", utterances[i]) for i in np.sort(order[num_clean:])]
    return mixtures


def plan_test(
    utterances: Sequence[Utterance],
    noises: NoiseTypes,
    snrs_db: Sequence[float],
    num_utterances: int,
    split: str,
    seed: int,
    enhanced: bool = False,
) -> list[Mixture]:
    """``num_utterances`` drawn utterances: each clean, and each with every noise type at every SNR.

    Where a type has several files, each utterance meets one of them in turn. With ``enhanced``, every noisy mixture is
    also there to be enhanced.
    """
    if not 0 < num_utterances <= len(utterances):
        raise ConfigError(
            f"num_{split}_utterances={num_utterances}, but the {split} speakers have {len(utterances)} utterances. "
            "Give a smaller number."
        )
    rng = np.random.default_rng([seed, 4 if split == "test" else 5])
    drawn = [utterances[i] for i in sorted(rng.permutation(len(utterances))[:num_utterances])]
    mixtures = [_clean(split, utterance) for utterance in drawn]
    for utterance_number, utterance in enumerate(drawn):
        for noise_type, files in noises.items():
            for snr_db in snrs_db:
                noise = files[utterance_number % len(files)]
                mixtures.append(_noisy(split, utterance, noise_type, noise, float(snr_db), len(mixtures), seed))
    if enhanced:
        mixtures += [_enhanced(mixture) for mixture in mixtures if mixture.subset == "noisy"]
    return mixtures


def check_snrs(name: str, snrs_db) -> None:
    """Refuse what is no list of SNRs in dB; ``name`` is the option's.

    Raises
    ------
    ConfigError
        It is no list, empty, or holds something else than numbers.
    """
    is_list = isinstance(snrs_db, (list, tuple)) and len(snrs_db) > 0
    if not is_list or not all(isinstance(value, (int, float)) for value in snrs_db):
        raise ConfigError(f"{name}={snrs_db!r} must be a list of one or more SNRs in dB, as in [-6, 0, 6].")


def _clean(split: str, utterance: Utterance) -> Mixture:
    return Mixture(
        f"{split}-clean-{utterance.utt_id}", split, "clean", utterance.utt_id, utterance.speaker, utterance.path
    )


def _noisy(split, utterance, noise_type, noise, snr_db, number, seed) -> Mixture:
    mixture_id = f"{split}-noisy-{number:06d}-{utterance.utt_id}"
    return Mixture(
        mixture_id,
        split,
        "noisy",
        utterance.utt_id,
        utterance.speaker,
        utterance.path,
        noise_type,
        noise,
        snr_db,
        seed * 1_000_003 + number,
    )


def _enhanced(noisy: Mixture) -> Mixture:
    return replace(noisy, mixture_id=noisy.mixture_id.replace("-noisy-", "-enhanced-", 1), subset="enhanced")


def _deal(rng: np.random.Generator, values: list, count: int) -> list:
    """``count`` values in random order, each as often as the others (to within one)."""
    rounds = [rng.permutation(len(values)) for _ in range(-(-count // len(values)))]
    return [values[i] for i in np.concatenate(rounds)[:count]] if count else []


# ------------------------------------------------------------------------------------------------------- the mixing


def mix_at_snr(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """``speech + g * noise`` with g such that the powers over the whole utterance stand at ``snr_db``.

    Parameters
    ----------
    speech, noise : np.ndarray
        (samples,), of one length.
    snr_db : float
        10 log10 of the power of the speech over that of the scaled noise.

    Raises
    ------
    AudioError
        Either is silent or their lengths differ.

    Example
    -------
    >>> mix_at_snr(np.array([1.0, -1.0]), np.array([0.5, 0.5]), 0.0)
    array([2., 0.])
    """
    if speech.shape != noise.shape:
        raise AudioError(
            f"Speech {speech.shape} and noise {noise.shape} differ in length. Cut the noise to the speech."
        )
    speech_power = float(np.mean(np.square(speech, dtype=np.float64)))
    noise_power = float(np.mean(np.square(noise, dtype=np.float64)))
    if speech_power == 0 or noise_power == 0:
        which = "speech" if speech_power == 0 else "noise"
        raise AudioError(f"The {which} is silent, so no SNR can be set. Leave this file out.")
    gain = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    return speech + (gain * noise).astype(speech.dtype)


def cut_noise(noise: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """``samples`` of a noise from a seeded offset, looped where it is shorter; digital silence at its ends is skipped.

    Raises
    ------
    AudioError
        The whole recording is digitally silent.
    """
    loud = np.flatnonzero(np.abs(noise) > DIGITAL_SILENCE)
    if loud.size == 0:
        raise AudioError("The noise is digitally silent throughout. Leave this file out.")
    noise = noise[loud[0] : loud[-1] + 1]
    rng = np.random.default_rng(seed)
    for _ in range(20):
        cut = _loop_from(noise, int(rng.integers(noise.size)), samples)
        if np.abs(cut).max() > DIGITAL_SILENCE:
            return cut
    # A recording of rare sounds between long silences: begin at its loudest sample.
    return _loop_from(noise, int(np.abs(noise).argmax()), samples)


def _loop_from(noise: np.ndarray, offset: int, samples: int) -> np.ndarray:
    repeats = -(-(offset + samples) // noise.size)
    return np.tile(noise, repeats)[offset : offset + samples]


def partly_noisy(speech: np.ndarray, noise: np.ndarray, snr_db: float, start: int, end: int) -> np.ndarray:
    """Speech with noise between two samples only, at ``snr_db`` there, scaled down as a whole where it would clip."""
    mixed = speech.copy()
    mixed[start:end] = mix_at_snr(speech[start:end], cut_noise(noise, end - start, seed=0), snr_db)
    return mixed * min(1.0, PEAK_LIMIT / float(np.abs(mixed).max()))


def mix(mixture: Mixture, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The degraded speech of a mixture and the clean speech in it, both (samples,), scaled alike so that nothing clips.

    Raises
    ------
    AudioError
        The speech or the noise cannot be read or is silent.
    """
    clean = _cached(mixture.speech, sample_rate)
    if not np.any(clean):
        raise AudioError(f"{mixture.speech} is silent, so it cannot serve as speech. Leave it out.")
    degraded = clean
    if mixture.noise is not None and mixture.snr_db is not None:
        noise = cut_noise(_cached(mixture.noise, sample_rate), clean.size, mixture.seed)
        degraded = mix_at_snr(clean, noise, mixture.snr_db)
    scale = min(1.0, PEAK_LIMIT / float(np.abs(degraded).max()))
    return degraded * scale, clean * scale


def make_mixture(mixture: Mixture, path: Path, sample_rate: int) -> float:
    """Write one mixture as 16-bit WAV and return its duration in seconds.

    Raises
    ------
    AudioError
        The speech or the noise cannot be read or is silent.
    """
    samples, _ = mix(mixture, sample_rate)
    audio.write(path, samples, sample_rate)
    return samples.size / sample_rate


_cache: dict[tuple[Path, int], np.ndarray] = {}


def _cached(path: Path, sample_rate: int) -> np.ndarray:
    """A recording, kept in memory: a few files serve thousands of mixtures."""
    if (path, sample_rate) not in _cache:
        if sum(samples.size for samples in _cache.values()) > CACHE_SAMPLES:
            _cache.clear()
        _cache[path, sample_rate] = audio.read(path, sample_rate)
    return _cache[path, sample_rate]


def make_mixtures(
    mixtures: Sequence[Mixture], folder: str | Path, sample_rate: int, num_workers: int | None, progress: bool = True
) -> tuple[dict[str, float], dict[str, str]]:
    """Write the mixtures that are not there yet as ``folder/<mixture_id>.wav``, in worker processes.

    Returns
    -------
    durations : dict
        Seconds by mixture id.
    rejected : dict
        The reason by mixture id, of files that could not be made.

    Raises
    ------
    CorpusError
        The disk is full or the folder cannot be written. What is made stays and is not made again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(_make_one, folder=folder, sample_rate=sample_rate)
    durations, rejected = {}, {}
    results = map_in_processes(work, mixtures, num_workers, "mixing", progress, chunksize=16)
    try:
        for mixture, (seconds, reason) in zip(mixtures, results, strict=True):
            if reason:
                rejected[mixture.mixture_id] = reason
            else:
                durations[mixture.mixture_id] = seconds
    except CorpusError as error:
        if not isinstance(error.__cause__, OSError) and "cannot be written" not in str(error):
            raise
        raise CorpusError(
            f"Writing mixtures to {folder} failed: {error} Free some space (16-bit audio at {sample_rate} Hz takes "
            f"{sample_rate * 2 * 3600 / 1e6:.0f} MB an hour) and start again: {len(durations)} finished files are kept."
        ) from error
    return durations, rejected


def enhance_mixtures(
    mixtures: Sequence[Mixture],
    folder: str | Path,
    sample_rate: int,
    enhance: Enhance,
    batch_size: int = 32,
    progress: bool = True,
) -> tuple[dict[str, float], dict[str, str]]:
    """As :func:`make_mixtures`, for files that are mixed and then enhanced, ``batch_size`` at a time, in this process.

    What the model makes silent or not finite is rejected, with that reason.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    durations, rejected = {}, {}
    with progress_bar(None, "enhancing", len(mixtures), progress) as bar:
        for first in range(0, len(mixtures), batch_size):
            mixed: dict[str, np.ndarray] = {}
            for mixture in mixtures[first : first + batch_size]:
                path = folder / f"{mixture.mixture_id}.wav"
                try:
                    if path.exists():
                        durations[mixture.mixture_id] = audio.duration(path)
                    else:
                        mixed[mixture.mixture_id], _ = mix(mixture, sample_rate)
                except AudioError as error:
                    rejected[mixture.mixture_id] = str(error)
            for name, samples in zip(mixed, enhance(list(mixed.values())) if mixed else [], strict=True):
                try:
                    audio.check_signal(samples, f"What the enhancer made of {name}")
                    # 16-bit audio: an enhanced file must not clip either.
                    samples = samples * min(1.0, PEAK_LIMIT / float(np.abs(samples).max()))
                    audio.write(folder / f"{name}.wav", samples, sample_rate)
                    durations[name] = samples.size / sample_rate
                except AudioError as error:
                    rejected[name] = str(error)
            bar.update(min(batch_size, len(mixtures) - first))
    return durations, rejected


def _make_one(mixture: Mixture, folder: Path, sample_rate: int) -> tuple[float, str]:
    path = folder / f"{mixture.mixture_id}.wav"
    try:
        if path.exists():
            return audio.duration(path), ""
        return make_mixture(mixture, path, sample_rate), ""
    except AudioError as error:
        return 0.0, str(error)


def _some(names: Iterable[str], count: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
