"""How well the frame scores of a Quality-Net tell where the noise is (Quality-Net paper, section 3.3, figure 3).

The paper shows one utterance with noise in its frames 40 to 100 of 140. Here every clean utterance of a test set gets
such a version, so that what the figure shows becomes a number.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechtools import audio
from speechtools.core import metrics
from speechtools.core.errors import AudioError, ConfigError
from speechtools.degradations import mixing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartlyNoisy:
    """An utterance (samples,), clean, and with noise from the sample ``start`` up to the sample ``end``."""

    name: str
    noise_type: str
    clean: np.ndarray
    noisy: np.ndarray
    start: int
    end: int


def partly_noisy_set(
    rows: Sequence[dict],
    sample_rate: int,
    snr_db: float = 0.0,
    start: float = 0.29,
    end: float = 0.71,
    max_utterances: int | None = None,
) -> list[PartlyNoisy]:
    """Every clean utterance of a test set, with noise in one stretch of it.

    The noises of the test are dealt in turn: utterance after utterance the next type, and within a type the next
    recording. Nothing is drawn, so the set is the same whichever model is tested.

    Parameters
    ----------
    rows : sequence of dict
        Of the test manifest: ``ID``, ``path``, ``subset``, ``noise_type``, ``noise``.
    sample_rate : int
        In Hz.
    snr_db : float
        Of the stretch, speech against noise.
    start, end : float
        Where the stretch begins and ends, as shares of the utterance; by default as in the paper's figure 3.
    max_utterances : int
        So many only, spread evenly over the set; None takes all.

    Returns
    -------
    list of PartlyNoisy
        Without the utterances whose speech or noise cannot be read or is silent there; a warning names each.

    Raises
    ------
    ConfigError
        An option cannot be, the rows hold no clean utterance or no noise, or every utterance was left out.
    """
    if not (0 <= start < end <= 1 and math.isfinite(snr_db)):
        raise ConfigError(
            f"start={start}, end={end}, snr_db={snr_db}: the stretch must begin before it ends, both as shares of the "
            "utterance from 0 to 1, and have a finite SNR."
        )
    if max_utterances is not None and max_utterances < 1:
        raise ConfigError(f"max_utterances={max_utterances} leaves nothing to test. Give 1 or more, or None for all.")
    clean = [row for row in rows if row["subset"] == "clean"]
    recordings: dict[str, set[str]] = {}
    for row in rows:
        if row["noise"]:
            recordings.setdefault(row["noise_type"], set()).add(str(row["noise"]))
    if not clean or not recordings:
        raise ConfigError(
            f"Of {len(rows)} rows, {len(clean)} are clean utterances, and they name {len(recordings)} types of noise: "
            "at least one of each is needed. Give all rows of a test manifest."
        )
    noise_types = {name: sorted(paths) for name, paths in sorted(recordings.items())}
    count = min(len(clean), max_utterances or len(clean))
    examples = []
    for number in range(count):
        row = clean[number * len(clean) // count]
        noise_type = list(noise_types)[number % len(noise_types)]
        files = noise_types[noise_type]
        noise_path = files[number // len(noise_types) % len(files)]
        try:
            speech = audio.read(row["path"], sample_rate)
            noise = audio.read(noise_path, sample_rate)
            first, last = round(start * len(speech)), round(end * len(speech))
            if first == last:
                raise AudioError(f"{row['path']} has {len(speech)} samples, too few for a stretch of them.")
            noisy = mixing.partly_noisy(speech, noise, snr_db, first, last)
        except AudioError as error:
            logger.warning("%s with the noise %s is left out: %s", row["ID"], noise_path, error)
            continue
        examples.append(PartlyNoisy(row["ID"], noise_type, speech, noisy, first, last))
    if not examples:
        raise ConfigError(f"All {count} utterances were left out; the warnings say why. Mend the test set.")
    return examples


def localization_figures(net, examples: Sequence[PartlyNoisy]) -> dict[str, float]:
    """How far frame scores tell noisy frames from clean ones, and how far noise lowers the scores of clean frames.

    A frame counts as noisy where its whole window lies within the stretch, and as clean where its whole window lies
    outside; what straddles an edge counts for neither.

    Quality-Net normalises by the peak of a recording. Where noise raises it, the clean frames are heard at a lower
    level than in the clean utterance, and ``clean_drop`` holds what that does, besides the effect of the context.

    Parameters
    ----------
    net : QualityNet
        Or anything else with ``assess_samples``, and ``features`` that have ``n_fft`` and ``hop_length``.
    examples : sequence of PartlyNoisy
        Of the net's sample rate.

    Returns
    -------
    dict
        ``auc``: the probability that a clean frame scores above a noisy one, over the frames of all utterances;
        ``auc_within``: the mean over utterances of the same among the frames of one; ``clean_drop``: how much lower
        (mean over utterances) the mean score of the clean frames is than that of the same frames in the wholly clean
        utterance, the effect that figure 3 shows; ``noisy_drop``: the same of the noisy frames; ``utterances``.

    Raises
    ------
    ConfigError
        There are no examples, or one is too short to have frames of both kinds.
    """
    if not examples:
        raise ConfigError("There are no partly noisy utterances to test on. Give at least one.")
    clean_frames, noisy_frames, aucs, clean_drops, noisy_drops = [], [], [], [], []
    for example in examples:
        before = net.assess_samples(example.clean).frame_scores
        after = net.assess_samples(example.noisy).frame_scores
        # (time,) each, of the same windows
        outside, inside = _frames(example, len(after), net.features.n_fft, net.features.hop_length)
        if not outside.any() or not inside.any():
            raise ConfigError(
                f"{example.name} has {np.count_nonzero(outside)} clean and {np.count_nonzero(inside)} noisy frames "
                f"({len(example.noisy)} samples, noise from {example.start} to {example.end}), and some of either are "
                "needed. Leave it out, or choose another stretch."
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


def _frames(example: PartlyNoisy, count: int, n_fft: int, hop_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``count`` frames lie wholly outside the stretch, and which wholly inside: booleans (time,)."""
    first = np.arange(count) * hop_length
    last = np.minimum(first + n_fft, len(example.noisy))  # beyond the end there are only zeros
    # (time,)
    outside = (last <= example.start) | (first >= example.end)
    inside = (first >= example.start) & (last <= example.end)
    return outside, inside
