"""Cohort and calibration of a trained encoder: from training speakers, and from validation speakers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechtools.core import metrics
from speechtools.core.registry import build
from speechtools.degradations.chain import Chain
from speechtools.speaker import calibration
from speechtools.speaker.calibration import MIN_TRIALS, Conditions
from speechtools.speaker.data import degradation_noises
from speechtools.speaker.dvectors import cosine_scores, unit
from speechtools.speaker.inference import SpeakerEncoder
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.weighing import QualityModel, speech_quality

logger = logging.getLogger(__name__)

#: Fewer speakers of a cohort, or of the calibration, say too little.
MIN_COHORT, MIN_SPEAKERS = 50, 10
#: Utterances of a speaker of the cohort, whose d-vectors are averaged.
COHORT_UTTERANCES = 5
#: Of a source and of a speaker, so many utterances at most are used for the calibration.
MAX_UTTERANCES, MAX_OF_SPEAKER = 500, 10
#: Numbers of recordings that voices are enrolled from. Each entry counts the same in the calibration.
ENROLMENTS = (1, 1, 2, 3, 5, 8)
#: Non-target trials of a source, at most.
MAX_NONTARGETS = 100_000
#: Utterances are also cut to lengths (s) from here on, as are recordings of short replies.
MIN_CUT = 0.8
_BATCH = 64


def fit_scoring(
    encoder: SpeakerEncoder,
    stores: Mapping[str, Mapping[str, SpeakerStore]],
    score_norm: str | None = "as-norm",
    cohort_size: int = 300,
    degradations: Sequence[str] = (),
    noise_folder: str | Path | Sequence[str | Path] = "",
    noises_left_out: Sequence[str] = (),
    quality: QualityModel | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Choose the cohort of an encoder from training speakers, and calibrate it on validation speakers.

    With few speakers, the encoder gets no cohort or no calibration, and the log says so.

    Parameters
    ----------
    encoder : SpeakerEncoder
        It is changed.
    stores : mapping of mapping of SpeakerStore
        By source, each of which counts the same, and split: ``train``, and ``valid`` where the source has it.
    score_norm : str, optional
        A plugin of the kind ``score-norm``; none: cosines are calibrated.
    cohort_size : int
        Speakers in the cohort, at most.
    degradations : sequence of str
        Chains, through which the test side of a third of the trials goes.
    noise_folder, noises_left_out
        Noises for them, as in :func:`~speechtools.speaker.data.prepare`.
    quality : QualityModel, optional
        Scores the quality of both sides, which the calibration then uses.
    seed : int
        Draws speakers, utterances and their parts.

    Returns
    -------
    dict
        Of the log-likelihood ratios of calibrations without the speakers of the trial: ``cllr``, ``min_cllr``, ``eer``;
        empty without a calibration.
    """
    train = [of_source["train"] for of_source in stores.values()]
    cohort = cohort_dvectors(encoder, train, cohort_size, seed) if score_norm else torch.zeros(0, 0)
    norm = None
    if score_norm and len(cohort) >= MIN_COHORT:
        norm = build(f"score-norm/{score_norm}", size=len(cohort), embedding_size=encoder.embedding_size)
        norm.set_cohort(cohort)
    elif score_norm:
        logger.warning("Scores are not normalised: of %d speakers, a cohort says too little.", len(cohort))
    encoder.set_normalization(norm)
    chains: list[Chain] = []
    if degradations:
        noises = degradation_noises(noise_folder, noises_left_out)
        chains = [Chain(chain, encoder.sample_rate, noises) for chain in degradations]
    parts = [
        part
        for number, of_source in enumerate(stores.values())
        if "valid" in of_source
        and (part := _trials_of_source(encoder, of_source["valid"], chains, quality, [seed, 21, number]))
    ]
    counts = [sum(np.count_nonzero(part.targets == kind) for part in parts) for kind in (True, False)]
    speakers = sum(len(np.unique(part.first)) for part in parts)
    if min(counts) < MIN_TRIALS or speakers < MIN_SPEAKERS:
        logger.warning("Scores are not calibrated: %d speakers with two utterances are too few.", speakers)
        return {}
    trials = _joined(parts)
    fitted = trials.fit(np.arange(len(trials.scores)), encoder.calibrated_scale)
    encoder.set_calibration(fitted)
    folds = min(5, speakers // 2)
    if folds < 3:
        return {}

    def without(chosen: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        other = trials.fit(chosen, encoder.calibrated_scale)
        return lambda tested: other.llr(trials.scores[tested], trials.conditions[tested])

    ratios = calibration.held_out(without, trials.first, trials.second, folds, seed)
    targets, nontargets = ratios[trials.targets], ratios[~trials.targets]
    return {
        "cllr": metrics.cllr(targets, nontargets),
        "min_cllr": metrics.min_cllr(targets, nontargets),
        "eer": metrics.eer(targets, nontargets)[0],
        "target_trials": len(targets),
        "nontarget_trials": len(nontargets),
    }


def cohort_dvectors(encoder: SpeakerEncoder, stores: Sequence[SpeakerStore], size: int, seed: int = 0) -> Tensor:
    """Mean d-vectors (speakers, emb) of at most ``size`` speakers, drawn from all stores in turn."""
    rng = np.random.default_rng([seed, 20])
    orders = [[(store, speaker) for speaker in rng.permutation(len(store.speakers)).tolist()] for store in stores]
    drawn: list[tuple[SpeakerStore, int]] = []
    while any(orders) and len(drawn) < size:
        for order in orders:
            if order and len(drawn) < size:
                drawn.append(order.pop())
    wavs: list[Tensor] = []
    counts: list[int] = []
    for store, speaker in drawn:
        members = np.arange(store.first[speaker], store.first[speaker + 1])
        chosen = rng.permutation(members)[:COHORT_UTTERANCES].tolist()
        wavs += [_read(store, utterance) for utterance in chosen]
        counts.append(len(chosen))
    if not counts:
        return torch.zeros(0, encoder.embedding_size)
    return torch.stack([part.mean(dim=0) for part in unit(_embed(encoder, wavs)).split(counts)])


def _read(store: SpeakerStore, utterance: int) -> Tensor:
    return torch.from_numpy(store.read(utterance) * np.float32(2**-15))


def _embed(encoder: SpeakerEncoder, wavs: Sequence[Tensor]) -> Tensor:
    parts = [encoder.encode_speech(wavs[first : first + _BATCH]) for first in range(0, len(wavs), _BATCH)]
    return torch.cat(parts).cpu().float()
    # (wavs, emb)


@dataclass(frozen=True)
class _Versions:
    """Versions of the same utterances: d-vectors (utterances, emb) of length 1, seconds and quality (utterances,)."""

    dvectors: Tensor
    seconds: np.ndarray
    quality: np.ndarray


@dataclass(frozen=True)
class _CalibrationTrials:
    """Scores, answers, conditions and weights of trials, and the speakers of both sides, (trials,) each."""

    scores: np.ndarray
    targets: np.ndarray
    conditions: Conditions
    first: np.ndarray
    second: np.ndarray
    weights: np.ndarray

    def fit(self, chosen: np.ndarray, scale: str) -> calibration.Calibration:
        """A calibration that is fitted to some of the trials, given as indices."""
        targets, weights, conditions = self.targets[chosen], self.weights[chosen], self.conditions[chosen]
        speakers = len(np.unique(self.first[chosen][targets]))
        return calibration.fit(self.scores[chosen], targets, conditions, scale, weights, speakers)


def _joined(parts: Sequence[_CalibrationTrials]) -> _CalibrationTrials:
    """The trials of all sources, whose speakers are others."""
    offsets = np.cumsum([0, *(int(part.first.max()) + 1 for part in parts)])

    conditions = {
        name: np.concatenate([getattr(part.conditions, name) for part in parts]) for name in calibration.TERMS
    }
    return _CalibrationTrials(
        scores=np.concatenate([part.scores for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        conditions=Conditions(**conditions),
        first=np.concatenate([part.first + offset for part, offset in zip(parts, offsets, strict=False)]),
        second=np.concatenate([part.second + offset for part, offset in zip(parts, offsets, strict=False)]),
        weights=np.concatenate([part.weights for part in parts]),
    )


def _trials_of_source(
    encoder: SpeakerEncoder,
    store: SpeakerStore,
    chains: Sequence[Chain],
    quality: QualityModel | None,
    seed: Sequence[int],
) -> _CalibrationTrials | None:
    """Voices of one recording or several against recordings that are whole, cut or degraded; None without targets."""
    rng = np.random.default_rng(seed)
    members = [
        np.sort(rng.permutation(np.arange(store.first[k], store.first[k + 1]))[:MAX_OF_SPEAKER])
        for k in rng.permutation(len(store.speakers))
        if store.first[k + 1] - store.first[k] > 1
    ]
    while sum(map(len, members)) > MAX_UTTERANCES and len(members) > 2:
        members.pop()
    if not members:
        return None
    speakers = np.repeat(np.arange(len(members)), [len(part) for part in members])
    utterances = np.concatenate(members)
    whole = [_read(store, utterance) for utterance in utterances.tolist()]
    cut = [_cut(wav, encoder.sample_rate, rng) for wav in whole]
    versions = [whole, cut]
    if chains:
        degraded = [chains[int(rng.integers(len(chains)))](wav.numpy(), rng) for wav in cut]
        versions.append([torch.from_numpy(np.asarray(wav, dtype=np.float32)) for wav in degraded])
    known = [_version(encoder, wavs, quality) for wavs in versions]
    voices = _voices(known[:2], speakers, rng)
    tests = torch.cat([version.dvectors for version in known])
    utterance_of = np.tile(np.arange(len(utterances)), len(known))
    # (tests,): places of the utterances
    scores = _scores(encoder, torch.stack([voice.voiceprint for voice in voices]), tests)
    of_models = np.array([voice.speaker for voice in voices])
    is_target = of_models[:, None] == speakers[utterance_of][None]
    is_enrolled = np.stack([np.isin(utterance_of, voice.places) for voice in voices])
    targets, nontargets = np.flatnonzero(is_target & ~is_enrolled), np.flatnonzero(~is_target)
    if not len(targets) or not len(nontargets):
        return None
    nontargets = np.sort(rng.permutation(nontargets)[:MAX_NONTARGETS])
    kinds = [np.divmod(kind, len(utterance_of)) for kind in (targets, nontargets)]
    model, test = np.concatenate(kinds, axis=1)
    entries = np.array([voice.entry for voice in voices])
    return _CalibrationTrials(
        scores=scores[model, test],
        targets=np.arange(len(model)) < len(targets),
        conditions=Conditions(
            recordings=np.array(ENROLMENTS)[entries[model]],
            model_seconds=np.array([voice.seconds for voice in voices])[model],
            test_seconds=np.concatenate([version.seconds for version in known])[test],
            model_quality=np.array([voice.quality for voice in voices])[model],
            test_quality=np.concatenate([version.quality for version in known])[test],
        ),
        first=of_models[model],
        second=speakers[utterance_of][test],
        weights=np.concatenate([_weights(entries[m], of_models[m], speakers[utterance_of][t]) for m, t in kinds]),
    )


@dataclass(frozen=True)
class _Voice:
    """A voice of a speaker, enrolled from utterances at some ``places`` by an entry of ``ENROLMENTS``."""

    entry: int
    speaker: int
    places: np.ndarray
    voiceprint: Tensor
    seconds: float
    quality: float


def _voices(versions: Sequence[_Versions], speakers: np.ndarray, rng: np.random.Generator) -> list[_Voice]:
    """Voices that begin with every utterance, of a version that is drawn; an utterance is left for the test."""
    voices = []
    for entry, count in enumerate(ENROLMENTS):
        for first, speaker in enumerate(speakers.tolist()):
            others = np.setdiff1d(np.flatnonzero(speakers == speaker), first)
            if count > len(others):
                continue
            places = np.append(first, rng.permutation(others)[: count - 1])
            sides = [(versions[int(rng.integers(len(versions)))], place) for place in places.tolist()]
            voiceprint = torch.stack([version.dvectors[place] for version, place in sides]).mean(dim=0)
            seconds = sum(version.seconds[place] for version, place in sides)
            quality = float(np.mean([version.quality[place] for version, place in sides]))
            voices.append(_Voice(entry, speaker, places, voiceprint, seconds, quality))
    return voices


def _weights(entries: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Weights (trials,) of trials of one kind: each entry of ``ENROLMENTS`` counts the same, in it each speaker pair.

    Otherwise, the number would say something about the share of targets, since few speakers have many recordings.
    """
    pairs, sizes = np.unique([entries, first, second], axis=1, return_inverse=True, return_counts=True)[1:]
    weights = 1 / sizes[pairs.ravel()]
    numbers = np.unique(entries, return_inverse=True)[1]
    totals = np.bincount(numbers, weights)
    return weights / totals[numbers] / len(totals)


def _cut(wav: Tensor, sample_rate: int, rng: np.random.Generator) -> Tensor:
    """A part of a waveform, of a length between ``MIN_CUT`` and the whole, on a logarithmic scale."""
    least = round(MIN_CUT * sample_rate)
    if len(wav) <= least:
        return wav
    length = round(float(np.exp(rng.uniform(np.log(least), np.log(len(wav))))))
    start = int(rng.integers(len(wav) - length + 1))
    return wav[start : start + length]


def _version(encoder: SpeakerEncoder, wavs: list[Tensor], quality: QualityModel | None) -> _Versions:
    scores = np.full(len(wavs), np.nan)
    if quality is not None:
        scores = np.array([speech_quality(quality, wav, encoder.sample_rate) for wav in wavs], dtype=np.float64)
    return _Versions(unit(_embed(encoder, wavs)), np.array([len(wav) / encoder.sample_rate for wav in wavs]), scores)


def _scores(encoder: SpeakerEncoder, prints: Tensor, tests: Tensor) -> np.ndarray:
    """What is calibrated, (models, tests): cosines, normalised if there is a cohort."""
    scores = cosine_scores(prints, tests)
    if encoder.normalization is not None:
        sides = [encoder.normalization.statistics(side).to(scores) for side in (prints, tests)]
        scores = encoder.normalization(scores, sides[0].unsqueeze(1), sides[1].unsqueeze(0))
    return scores.double().numpy()
