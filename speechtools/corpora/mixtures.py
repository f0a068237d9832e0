"""The mixing protocol of the Quality-Net paper (section 3.1), for any corpus, noises and degradations.

Training: every utterance is used once; ``num_clean`` stay clean, and each of the others gets one noise at one SNR.
Test: every chosen utterance clean, and with every unseen noise type at every SNR. Validation is made as the test is,
from speakers and noise types that neither of the others has. Other plugins of the kind ``degradation`` can be dealt
besides the noises.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.files import write_aside
from speechtools.core.jobs import map_in_processes, progress_bar
from speechtools.core.registry import build
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.causes import Presence, degrade_with_causes, format_causes
from speechtools.degradations.lists import parse_degradations
from speechtools.degradations.noise import PEAK_LIMIT, NoiseTypes, cut_noise, mix_at_snr, read_cached

#: Enhances waveforms (samples,), a list of them at a time, and keeps their lengths.
Enhance = Callable[[list[np.ndarray]], list[np.ndarray]]
#: How much an enhancer has left of the noise, or of other causes, is not known.
_CAUSES_OF_ENHANCED = "?noise; processing"
_CAUSES_OF_OTHERS_ENHANCED = "?noise; ?reverberation; ?clipping; ?loss; ?band-limit; processing"
#: ``(clean, rng) -> degraded``, both (samples,).
Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, slots=True)
class Mixture:
    """One file to be made from an utterance.

    Attributes
    ----------
    mixture_id, split : str
        Unique id, and ``"train"``, ``"valid"`` or ``"test"``.
    subset : str
        ``"clean"``, ``"noisy"``, ``"enhanced"`` (degraded and then enhanced), or the name of another degradation, with
        its options if several of that name are planned: ``"clipping(level=0.1)"``.
    utt_id, speaker, speech
        Of the utterance.
    noise_type, noise, snr_db
        The planned recording and its SNR in dB, of noisy speech.
    seed : int
        Of the offset of the noise, or of the draws of another degradation.
    degradation, options : str, dict
        Name of a plugin of the kind ``degradation``, without its kind, and its arguments; ``"noise"`` if planned.
    enhance : bool
        Whether the degraded speech is enhanced. A degradation may be named ``enhanced``, too.
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
    degradation: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    enhance: bool = False


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
    degradations: str | Sequence[str | dict] = (),
) -> list[Mixture]:
    """Plan every utterance once: ``num_clean`` stay clean, the others get one noise and one SNR each.

    Noise recordings and SNRs are dealt so that each occurs as often as the others.

    Parameters
    ----------
    utterances, noises, snrs_db, num_clean
        What is dealt, and how many utterances stay clean. Without SNRs, only the ``degradations`` are dealt.
    mixtures_per_utterance : int
        Above 1 (not in the paper; for small corpora), the noisy utterances are used so often, with other noises and
        SNRs.
    seed : int
        Of all draws.
    clean_copies : bool
        Add the noisy utterances once more, clean (not in the paper).
    enhanced_share : float
        Share of the noisy utterances that are enhanced afterwards.
    degradations : sequence of str or dict
        Dealt besides the noises, as :func:`parse_degradations` reads them: each kind, noise being one of them, degrades
        as many files as the others.

    Raises
    ------
    ConfigError
        There are fewer utterances than ``num_clean``.
    """
    if not 0 <= num_clean <= len(utterances):
        raise ConfigError(
            f"num_clean_train={num_clean}, but the training split has {len(utterances)} utterances. "
            "Use a smaller number."
        )
    kinds: list[tuple[str, dict] | None] = [*([None] if snrs_db else []), *_others(degradations)]
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(len(utterances))
    enhanced = set(order[len(order) - round(enhanced_share * (len(order) - num_clean)) :])
    mixtures = [_mixture("train", utterances[i]) for i in sorted(order[:num_clean])]
    noisy = np.tile(np.sort(order[num_clean:]), mixtures_per_utterance)
    recordings = [(noise_type, path) for noise_type, files in noises.items() for path in files]
    dealt = zip(
        noisy,
        _deal(rng, recordings, len(noisy)),
        _deal(rng, list(snrs_db) or [0.0], len(noisy)),
        _deal(np.random.default_rng([seed, 8]), kinds, len(noisy)),
        strict=True,
    )
    for number, (i, (noise_type, noise), snr_db, other) in enumerate(dealt):
        subset, fields = other or _noisy(noise_type, noise, snr_db)
        mixture = _mixture("train", utterances[i], subset, number, seed, **fields)
        mixtures.append(_enhanced(mixture) if i in enhanced else mixture)
    if clean_copies:
        mixtures += [_mixture("train", utterances[i]) for i in np.sort(order[num_clean:])]
    return mixtures


def plan_test(
    utterances: Sequence[Utterance],
    noises: NoiseTypes,
    snrs_db: Sequence[float],
    num_utterances: int,
    split: str,
    seed: int,
    enhanced: bool = False,
    degradations: str | Sequence[str | dict] = (),
) -> list[Mixture]:
    """Plan ``num_utterances`` drawn utterances: each clean, and each with every noise type at every SNR.

    Where a type has several files, each utterance gets one of them in turn. Each utterance also gets every one of the
    ``degradations``. With ``enhanced``, every degraded file is also planned to be enhanced.

    Raises
    ------
    ConfigError
        There are fewer utterances.
    """
    if not 0 < num_utterances <= len(utterances):
        raise ConfigError(
            f"num_{split}_utterances={num_utterances}, but the {split} speakers have {len(utterances)} utterances. "
            "Use a smaller number."
        )
    rng = np.random.default_rng([seed, 4 if split == "test" else 5])
    selection = [utterances[i] for i in sorted(rng.permutation(len(utterances))[:num_utterances])]
    mixtures = [_mixture(split, utterance) for utterance in selection]
    for utterance_number, utterance in enumerate(selection):
        for noise_type, files in noises.items():
            for snr_db in snrs_db:
                subset, fields = _noisy(noise_type, files[utterance_number % len(files)], snr_db)
                mixtures.append(_mixture(split, utterance, subset, len(mixtures), seed, **fields))
    for subset, fields in _others(degradations):
        for utterance in selection:
            mixtures.append(_mixture(split, utterance, subset, len(mixtures), seed, **fields))
    if enhanced:
        mixtures += [_enhanced(mixture) for mixture in mixtures if mixture.subset != "clean"]
    return mixtures


def _noisy(noise_type: str, noise: Path, snr_db: float) -> tuple[str, dict]:
    """The subset of noisy speech, and the fields of a mixture."""
    return "noisy", {"degradation": "noise", "noise_type": noise_type, "noise": noise, "snr_db": float(snr_db)}


def _others(degradations: str | Sequence[str | dict]) -> list[tuple[str, dict]]:
    """The same of degradations in a list. Several settings of one plugin are subsets of their own."""
    parsed = parse_degradations(degradations)
    names, others = [degradation.name for degradation in parsed], []
    for name, options, subset in parsed:
        if not subset:
            several = options and names.count(name) > 1
            subset = f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})" if several else name
        others.append((subset, {"degradation": name, "options": options}))
    return others


def _mixture(
    split: str, utterance: Utterance, subset: str = "clean", number: int | None = None, seed: int = 0, **fields: Any
) -> Mixture:
    name = subset.partition("(")[0]  # options may contain characters that file names cannot
    if number is not None:  # degraded, with draws of its own
        name, fields["seed"] = f"{name}-{number:06d}", seed * 1_000_003 + number
    mixture_id = f"{split}-{name}-{utterance.utt_id}"
    return Mixture(mixture_id, split, subset, utterance.utt_id, utterance.speaker, utterance.path, **fields)


def _enhanced(mixture: Mixture) -> Mixture:
    mixture_id = mixture.mixture_id.replace(f"-{mixture.subset.partition('(')[0]}-", "-enhanced-", 1)
    return replace(mixture, mixture_id=mixture_id, subset="enhanced", enhance=True)


def _deal(rng: np.random.Generator, values: list, count: int) -> list:
    """Draw ``count`` values in random order, each as often as the others (to within one)."""
    rounds = [rng.permutation(len(values)) for _ in range(-(-count // len(values)))]
    return [values[i] for i in np.concatenate(rounds)[:count]] if count else []


# --------------------------------------------------------------------------------------------------------- the files


def mix(
    mixture: Mixture, sample_rate: int, degradations: dict[str, Degrade] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Make the degraded speech of a mixture and its clean speech, both (samples,), scaled alike so that nothing clips.

    ``degradations`` are built plugins, as :func:`build_degradations` returns them; None builds what is needed.

    Raises
    ------
    AudioError
        The speech or the noise cannot be read or is silent, or the degradation leaves nothing audible.
    """
    degraded, clean, _ = trace(mixture, sample_rate, degradations)
    return degraded, clean


def trace(
    mixture: Mixture, sample_rate: int, degradations: dict[str, Degrade] | None = None
) -> tuple[np.ndarray, np.ndarray, Presence]:
    """Do what :func:`mix` does, and also return when each cause of bad quality is present."""
    clean = read_cached(mixture.speech, sample_rate)
    audio.check_signal(clean, mixture.speech)
    degraded, presence = clean, Presence()
    if mixture.noise is not None and mixture.snr_db is not None:
        noise = cut_noise(read_cached(mixture.noise, sample_rate), clean.size, mixture.seed)
        degraded = mix_at_snr(clean, noise, mixture.snr_db)
        presence.add(["noise"], clean, degraded, sample_rate)
    elif mixture.degradation:
        degrade = (degradations or build_degradations([mixture], sample_rate))[_plugin_key(mixture)]
        degraded, presence = degrade_with_causes(degrade, clean, np.random.default_rng(mixture.seed), sample_rate)
        if degraded.shape != clean.shape or not np.isfinite(degraded).all() or not np.any(degraded):
            raise AudioError(
                f"degradation/{mixture.degradation} made {mixture.speech} silent, not finite or another length. Change "
                "its options, or test it with speechtools check plugin."
            )
    scale = min(1.0, PEAK_LIMIT / float(np.abs(degraded).max()))
    return degraded * scale, clean * scale, presence


def build_degradations(
    mixtures: Iterable[Mixture], sample_rate: int, noises: dict[str, NoiseTypes] | None = None
) -> dict[str, Degrade]:
    """Build the degradations of mixtures, without planned noises.

    Plugins that take ``sample_rate`` get it, and those that take ``noises`` get the recordings of their split.

    Raises
    ------
    PluginError
        There is no such plugin, or it does not take such options.
    """
    planned = {_plugin_key(mixture): mixture for mixture in mixtures if mixture.degradation and mixture.noise is None}
    files = {split: [path for group in types.values() for path in group] for split, types in (noises or {}).items()}
    built = {}
    for key, mixture in planned.items():
        offered: dict[str, Any] = {"sample_rate": sample_rate}
        if files.get(mixture.split) and "noise_folder" not in mixture.options:
            offered["noises"] = files[mixture.split]
        built[key] = build(f"degradation/{mixture.degradation}", offered, **mixture.options)
    return built


def _plugin_key(mixture: Mixture) -> str:
    return json.dumps([mixture.split, mixture.degradation, mixture.options], sort_keys=True, default=str)


class Made(NamedTuple):
    """A file of a mixture: its seconds, and the causes of bad quality, as a manifest has them."""

    duration: float
    causes: str


def make_mixtures(
    mixtures: Sequence[Mixture],
    folder: str | Path,
    sample_rate: int,
    num_workers: int | None,
    progress: bool = True,
    noises: dict[str, NoiseTypes] | None = None,
) -> tuple[dict[str, Made], dict[str, str]]:
    """Write missing mixtures as ``folder/<mixture_id>.wav``, in worker processes, and their causes beside them.

    ``noises`` are the noise types of each split, for degradations that take noises.

    Returns
    -------
    made : dict
        By mixture id.
    rejected : dict
        The reason by mixture id, of files that could not be made.

    Raises
    ------
    CorpusError
        The disk is full or the folder cannot be written. Finished files are kept and not made again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    degradations = build_degradations(mixtures, sample_rate, noises)
    alone = {key for key, degrade in degradations.items() if getattr(degrade, "in_one_process", False)}
    made: dict[str, Made] = {}
    rejected: dict[str, str] = {}
    # Networks do not run in forked processes.
    groups = [[m for m in mixtures if (_plugin_key(m) in alone) is in_one_process] for in_one_process in (False, True)]
    try:
        for group, workers in zip(groups, (num_workers, 1), strict=True):
            needed = {_plugin_key(m): degradations[_plugin_key(m)] for m in group if _plugin_key(m) in degradations}
            work = partial(_make_one, folder=folder, sample_rate=sample_rate, degradations=needed)
            results = map_in_processes(work, group, workers, "mixing", progress, chunksize=16)
            for mixture, result in zip(group, results, strict=True):
                if isinstance(result, str):
                    rejected[mixture.mixture_id] = result
                else:
                    made[mixture.mixture_id] = result
    except CorpusError as error:
        if not isinstance(error.__cause__, OSError) and "cannot be written" not in str(error):
            raise
        raise CorpusError(
            f"Writing mixtures to {folder} failed: {error} Free some space and start again: {len(made)} finished "
            "files are kept."
        ) from error
    return made, rejected


def _make_one(mixture: Mixture, folder: Path, sample_rate: int, degradations: dict[str, Degrade]) -> Made | str:
    """The file, or why it cannot be made."""
    path, causes_path = folder / f"{mixture.mixture_id}.wav", folder / f"{mixture.mixture_id}.causes.txt"
    try:
        if not path.exists() or not causes_path.exists():
            degraded, _, presence = trace(mixture, sample_rate, degradations)
            with write_aside(causes_path) as aside:
                aside.write_text(format_causes(presence), encoding="utf-8")
            audio.write(path, degraded, sample_rate)
        return Made(audio.duration(path), causes_path.read_text(encoding="utf-8"))
    except AudioError as error:
        return str(error)


def enhance_mixtures(
    mixtures: Sequence[Mixture],
    folder: str | Path,
    sample_rate: int,
    enhance: Enhance,
    batch_size: int = 32,
    progress: bool = True,
    noises: dict[str, NoiseTypes] | None = None,
) -> tuple[dict[str, Made], dict[str, str]]:
    """Mix and enhance, ``batch_size`` files at a time, in this process; otherwise like :func:`make_mixtures`.

    A file that the model makes silent or not finite is rejected with that reason.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    degradations = build_degradations(mixtures, sample_rate, noises)
    causes = {
        mixture.mixture_id: _CAUSES_OF_OTHERS_ENHANCED if mixture.noise is None else _CAUSES_OF_ENHANCED
        for mixture in mixtures
    }
    made: dict[str, Made] = {}
    rejected: dict[str, str] = {}
    with progress_bar(None, "enhancing", len(mixtures), progress) as bar:
        for first in range(0, len(mixtures), batch_size):
            mixed: dict[str, np.ndarray] = {}
            for mixture in mixtures[first : first + batch_size]:
                path = folder / f"{mixture.mixture_id}.wav"
                try:
                    if path.exists():
                        made[mixture.mixture_id] = Made(audio.duration(path), causes[mixture.mixture_id])
                    else:
                        mixed[mixture.mixture_id], _ = mix(mixture, sample_rate, degradations)
                except AudioError as error:
                    rejected[mixture.mixture_id] = str(error)
            for name, samples in zip(mixed, enhance(list(mixed.values())) if mixed else [], strict=True):
                try:
                    audio.check_signal(samples, f"The enhancer's output for {name}")
                    # 16-bit audio: an enhanced file must not clip either.
                    samples = samples * min(1.0, PEAK_LIMIT / float(np.abs(samples).max()))
                    audio.write(folder / f"{name}.wav", samples, sample_rate)
                    made[name] = Made(samples.size / sample_rate, causes[name])
                except AudioError as error:
                    rejected[name] = str(error)
            bar.update(min(batch_size, len(mixtures) - first))
    return made, rejected
