"""How well the frame scores of a Quality-Net locate noise and other faults (Quality-Net paper, section 3.3, figure 3).

The paper shows one utterance with noise in its frames 40 to 100 of 140. Here every clean utterance of a test set gets
such a version, which turns the figure into a number.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core import metrics
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.moved import former_names
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import partly_noisy
from speechtools.quality.rows import QualityRow

__getattr__ = former_names(__name__)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartlyNoisy:
    """An utterance (samples,): clean, and degraded from sample ``start`` up to sample ``end``.

    ``noise_type`` is the type of the noise, or the chain of degradations.
    """

    name: str
    noise_type: str
    clean: np.ndarray
    noisy: np.ndarray
    start: int
    end: int


def partly_noisy_set(
    rows: Sequence[QualityRow],
    sample_rate: int,
    snr_db: float = 0.0,
    start: float = 0.29,
    end: float = 0.71,
    max_utterances: int | None = None,
) -> list[PartlyNoisy]:
    """Add noise to one stretch of every clean utterance of a test set.

    Noise types take turns from one utterance to the next, and so do the recordings of a type. Nothing is random, so the
    set is the same for every model.

    Parameters
    ----------
    rows : sequence of QualityRow
        Of the test manifest.
    sample_rate : int
        In Hz.
    snr_db : float
        Of the stretch.
    start, end : float
        Where the stretch begins and ends, as shares of the utterance; by default as in the paper's figure 3.
    max_utterances : int, optional
        Use only this many, spread evenly over the set.

    Returns
    -------
    list of PartlyNoisy
        Without utterances whose speech or noise is silent there or cannot be read; a warning names them.

    Raises
    ------
    ConfigError
        An option is out of range, the rows have no clean utterance or no noise, or no utterance can be used.
    """
    if not (0 <= start < end <= 1 and math.isfinite(snr_db)):
        raise ConfigError(
            f"start={start}, end={end}, snr_db={snr_db}: 0 <= start < end <= 1, and a finite SNR, are needed."
        )
    if max_utterances is not None:
        check_number("max_utterances", max_utterances, 1, whole=True)
    clean = [row for row in rows if row.subset == "clean"]
    recordings = sorted({(row.noise_type, str(row.noise)) for row in rows if row.noise})
    noise_types = {name: [path for other, path in recordings if other == name] for name, _ in recordings}
    if not clean or not noise_types:
        raise ConfigError(
            f"The rows have {len(clean)} clean utterances and {len(noise_types)} types of noise; at least one of each "
            "is needed. Pass all rows of a test manifest."
        )
    spread = _spread(clean, max_utterances)
    examples = []
    for number, row in enumerate(spread):
        noise_type = list(noise_types)[number % len(noise_types)]
        files = noise_types[noise_type]
        noise_path = files[number // len(noise_types) % len(files)]
        try:
            speech, noise = audio.read(row.path, sample_rate), audio.read(noise_path, sample_rate)
            first, last = round(start * len(speech)), round(end * len(speech))
            if first == last:
                raise AudioError(f"{row.path} has only {len(speech)} samples.")
            noisy = partly_noisy(speech, noise, snr_db, first, last)
        except AudioError as error:
            logger.warning("%s with the noise %s is left out: %s", row.ID, noise_path, error)
            continue
        examples.append(PartlyNoisy(row.ID, noise_type, speech, noisy, first, last))
    return _checked(examples, len(spread))


def partly_degraded_set(
    rows: Sequence[QualityRow],
    sample_rate: int,
    chain: str,
    noises: Sequence[str | Path] = (),
    max_utterances: int | None = None,
    seed: int = 0,
) -> list[PartlyNoisy]:
    """Degrade one stretch of every clean utterance of a test set by a chain of degradations.

    The stretch reaches from the first to the last sample that the chain changes, so a step needs a ``share``.

    Parameters
    ----------
    rows, sample_rate, max_utterances
        As in :func:`partly_noisy_set`.
    chain : str
        As in ``"loss(rate=0.3, share=0.33)"``; see :class:`speechtools.degradations.chain.Chain`.
    noises : sequence of path
        Recordings for a step ``noise``.
    seed : int
        Of the draws, which are the same for every model.

    Returns
    -------
    list of PartlyNoisy
        Without utterances that cannot be read or degraded, or that the chain leaves as they are; a warning names them.

    Raises
    ------
    ConfigError, PluginError
        The chain cannot be read, the rows have no clean utterance, or no utterance can be used.
    """
    if max_utterances is not None:
        check_number("max_utterances", max_utterances, 1, whole=True)
    degrade = Chain(chain, sample_rate, noises)
    clean = [row for row in rows if row.subset == "clean"]
    if not clean:
        raise ConfigError("The rows have no clean utterance. Pass all rows of a test manifest.")
    spread = _spread(clean, max_utterances)
    examples = []
    for number, row in enumerate(spread):
        try:
            speech = audio.read(row.path, sample_rate)
            degraded = degrade(speech, np.random.default_rng([seed, number]))
            changed = np.flatnonzero(degraded != speech)
            if not changed.size:
                raise AudioError("The chain changes nothing.")
        except AudioError as error:
            logger.warning("%s is left out: %s", row.ID, error)
            continue
        examples.append(PartlyNoisy(row.ID, chain, speech, degraded, int(changed[0]), int(changed[-1]) + 1))
    return _checked(examples, len(spread))


def example(rows: Sequence[QualityRow], sample_rate: int, start: float = 0.29, end: float = 0.71) -> PartlyNoisy:
    """The first clean utterance of a test set with noise at 0 dB in one stretch; street noise where the test has it.

    Parameters and errors are those of :func:`partly_noisy_set`.
    """
    street = [row for row in rows if row.subset == "clean" or row.noise_type == "street"]
    rows = street if any(row.noise for row in street) else rows
    return partly_noisy_set(rows, sample_rate, 0.0, start, end, max_utterances=1)[0]


def localization_metrics(
    net, examples: Sequence[PartlyNoisy], higher_is_better: bool = True, changed_only: bool = False
) -> dict[str, float]:
    """How well frame scores separate noisy frames from clean ones, and how much noise lowers the scores of both.

    A frame is noisy if its whole window lies within the stretch, and clean if its whole window lies outside; frames
    across an edge are ignored. What is said of noise holds for every degradation.

    Quality-Net normalises by the peak of a recording. Where noise raises the peak, clean frames have a lower level than
    in the clean utterance; ``clean_drop`` includes the effect of that, besides that of the context.

    Parameters
    ----------
    net : QualityNet
        Or an object with ``assess_samples``, and ``features`` with ``n_fft`` and ``hop_length``.
    examples : sequence of PartlyNoisy
        At the sample rate of the net.
    higher_is_better : bool
        Direction of the scores. If false, their signs are changed first, so that the metrics keep their meaning.
    changed_only : bool
        Ignore frames within the stretch in which no sample has changed, as those between two lost packets.

    Returns
    -------
    dict
        ``auc``: the probability that a clean frame scores better than a noisy one, over the frames of all utterances;
        ``auc_within``: the same among the frames of one utterance, averaged over utterances; ``clean_drop``: how much
        worse the mean score of the clean frames is than in the clean utterance, averaged over utterances, the effect in
        figure 3; ``noisy_drop``: the same for the noisy frames; ``utterances``.

    Raises
    ------
    ConfigError
        There are no examples, or one has no clean or no noisy frames.
    """
    if not examples:
        raise ConfigError("Expected at least one partly noisy utterance, got none.")
    sign = 1 if higher_is_better else -1
    clean_frames, noisy_frames, aucs, clean_drops, noisy_drops = [], [], [], [], []
    for example in examples:
        before = sign * net.assess_samples(example.clean).frame_scores
        after = sign * net.assess_samples(example.noisy).frame_scores
        # Both (time,)
        outside, inside = _frames(example, len(after), net.features.n_fft, net.features.hop_length, changed_only)
        if not outside.any() or not inside.any():
            raise ConfigError(
                f"{example.name} has {outside.sum()} clean and {inside.sum()} noisy frames; both are needed. Leave it "
                "out, or choose another stretch."
            )
        clean_frames.append(after[outside])
        noisy_frames.append(after[inside])
        aucs.append(metrics.auc(after[outside], after[inside]))
        clean_drops.append(before[outside].mean() - after[outside].mean())
        noisy_drops.append(before[inside].mean() - after[inside].mean())
    return {
        "auc": metrics.auc(np.concatenate(clean_frames), np.concatenate(noisy_frames)),
        "auc_within": float(np.mean(aucs)),
        "clean_drop": float(np.mean(clean_drops)),
        "noisy_drop": float(np.mean(noisy_drops)),
        "utterances": len(examples),
    }


def _spread(rows: list[QualityRow], count: int | None) -> list[QualityRow]:
    """So many rows, spread evenly; None takes all."""
    count = min(len(rows), count or len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def _checked(examples: list[PartlyNoisy], count: int) -> list[PartlyNoisy]:
    if not examples:
        raise ConfigError(f"All {count} utterances were left out; the warnings give the reasons. Correct the test set.")
    return examples


def _frames(
    example: PartlyNoisy, count: int, n_fft: int, hop_length: int, changed_only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (time,) of the ``count`` frames that lie outside the stretch, and of those inside."""
    first = np.arange(count) * hop_length
    last = np.minimum(first + n_fft, len(example.noisy))  # only zeros beyond the end
    # (time,)
    outside = (last <= example.start) | (first >= example.end)
    inside = (first >= example.start) & (last <= example.end)
    if changed_only:
        num_changed = np.concatenate([[0], np.cumsum(example.noisy != example.clean)])
        inside &= num_changed[last] > num_changed[np.minimum(first, last)]
    return outside, inside
