"""What the frames of quality models are worth: causes, localisation, and enhancement of bad stretches alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from quality_models import SAMPLE_RATE

import speechtools
from speechtools import audio
from speechtools.core import metrics
from speechtools.core.errors import AudioError
from speechtools.degradations.causes import CAUSES, parse_causes
from speechtools.enhancement.stretches import replace_stretches
from speechtools.inference import QualityNet, SpeechEnhancer
from speechtools.quality.inference import QualityReport
from speechtools.quality.localization import localization_metrics, partly_degraded_set
from speechtools.quality.rows import QualityRow
from speechtools.quality.selective import Where, to_end

#: A third of an utterance, degraded.
LOCALISED = {
    "noise": "noise(snr_db=5, share=0.33)",
    "loss": "loss(rate=0.3, share=0.33)",
    "clipping": "clipping(level=0.1, share=0.33)",
}
#: Noise to be enhanced, where the test has none in a part only.
PARTLY_NOISY = "noise(snr_db=[-5, 10], share=[0.3, 0.6])"
STREET = "noise(snr_db=[-5, 10])"


def cause_aucs(rows: Sequence[QualityRow], reports: Sequence[QualityReport]) -> dict[str, dict]:
    """How well the probabilities of a model tell frames with a cause from frames without, by cause.

    Frames in which the presence of the cause is unknown are left out. ``auc`` is over all frames; ``auc_of_files``
    over files in which the cause is present or absent throughout, by their mean probability.
    """
    true = [parse_causes(row.causes, report.times) for row, report in zip(rows, reports, strict=True)]
    results = {}
    for column, cause in enumerate(CAUSES):
        frames: dict[float, list[np.ndarray]] = {0.0: [], 1.0: []}
        files: dict[float, list[float]] = {0.0: [], 1.0: []}
        for present, report in zip(true, reports, strict=True):
            probabilities = report.causes[:, report.cause_names.index(cause)]
            for value, parts in frames.items():
                chosen = present[:, column] == value  # NaN is neither
                parts.append(probabilities[chosen])
                if chosen.all():
                    files[value].append(float(probabilities.mean()))
        absent, there = (np.concatenate(frames[value]) for value in (0.0, 1.0))
        results[cause] = {
            "auc": metrics.auc(there, absent) if there.size and absent.size else None,
            "auc_of_files": metrics.auc(files[1.0], files[0.0]) if files[1.0] and files[0.0] else None,
            "frames_present": int(there.size),
            "frames_absent": int(absent.size),
        }
    return results


def localisation(
    nets: Mapping[str, QualityNet], rows: Sequence[QualityRow], noises: Sequence[Path], count: int
) -> dict[str, dict]:
    """AUC of the frame scores, by model and kind: over all frames, and the mean of those within an utterance.

    ``auc_changed`` leaves out frames of the stretch in which no sample has changed, as those between two losses.
    """
    results: dict[str, dict] = {name: {} for name in nets}
    for kind, chain in LOCALISED.items():
        examples = partly_degraded_set(rows, SAMPLE_RATE, chain, noises, count)
        for name, net in nets.items():
            better = net.measure is None or net.measure.higher_is_better
            located = localization_metrics(net, examples, better)
            changed = localization_metrics(net, examples, better, changed_only=True)
            located |= {"auc_changed": changed["auc"], "auc_within_changed": changed["auc_within"]}
            results[name][kind] = located
    keys = ("auc", "auc_within", "auc_changed", "auc_within_changed")
    for kinds in results.values():
        kinds["mean"] = {key: float(np.mean([kinds[kind][key] for kind in LOCALISED])) for key in keys}
    return results


class Pair(NamedTuple):
    """Noisy speech and its clean reference, both (samples,), and from when to when (s) there is noise."""

    clean: np.ndarray
    noisy: np.ndarray
    stretch: tuple[float, float] | None = None


def noisy_sets(
    rows: Sequence[QualityRow], noises: Sequence[Path], street: Sequence[Path], count: int
) -> dict[str, list[Pair]]:
    """What is enhanced: utterances with noise in a part, the noisy files of the test, and street noise."""
    noisy = [row for row in rows if row.subset in ("noise", "noisy")]
    noisy = [noisy[number * len(noisy) // count] for number in range(count)] if len(noisy) > count else noisy
    sets = {
        "noise in a part": [
            Pair(example.clean, example.noisy, (example.start / SAMPLE_RATE, example.end / SAMPLE_RATE))
            for example in partly_degraded_set(rows, SAMPLE_RATE, PARTLY_NOISY, noises, count)
        ],
        "noisy files": [Pair(audio.read(row.speech, SAMPLE_RATE), audio.read(row.path, SAMPLE_RATE)) for row in noisy],
    }
    if street:
        examples = partly_degraded_set(rows, SAMPLE_RATE, STREET, street, count)
        sets["street noise"] = [Pair(example.clean, example.noisy) for example in examples]
    return {name: pairs for name, pairs in sets.items() if pairs}


def selective_enhancement(
    nets: Mapping[str, QualityNet], pairs: Sequence[Pair], thresholds: Sequence[float]
) -> dict[str, dict]:
    """What enhancing only the stretches whose frame scores are below a threshold does, by model and threshold.

    Returns
    -------
    dict
        ``full``: the mean change of raw PESQ and of STOI by enhancing the whole files. By model and threshold, the
        same, ``kept``: the share of the full gain in PESQ, or None if there is none, and ``enhanced``: the share of the
        time that is enhanced. Where the noise is in a part, ``truth`` is what enhancing just this part does.
    """
    enhancer = SpeechEnhancer.from_hparams()
    measures = [speechtools.build(f"measure/{name}") for name in ("pesq-raw", "stoi")]
    whole: list[np.ndarray] = []
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for clean, noisy, stretch in pairs:
        noisy = noisy / max(1.0, float(np.abs(noisy).max()))
        enhanced = enhancer.enhance_waveforms([noisy])[0]
        chosen = {("truth", "its noise"): [stretch]} if stretch else {}
        for name, net in nets.items():
            report = net.assess_samples(noisy)
            for below in thresholds:
                chosen[name, f"{below:g}"] = Where(below).stretches(report)
        duration, mean = len(noisy) / SAMPLE_RATE, audio.io.offset(noisy, SAMPLE_RATE)
        # As SelectiveEnhancer does, with one enhancement for all models and thresholds.
        blended = {
            key: replace_stretches(noisy, enhanced, to_end(stretches, duration), SAMPLE_RATE, offset=mean)
            for key, stretches in chosen.items()
        }
        try:
            before, after, *of_parts = (
                np.array([measure(clean, samples, SAMPLE_RATE) for measure in measures])
                for samples in (noisy, enhanced, *blended.values())
            )
        except AudioError as error:
            print(f"A pair is left out: {error}")
            continue
        whole.append(after - before)
        for (key, stretches), values in zip(chosen.items(), of_parts, strict=True):
            share = sum(end - start for start, end in stretches) * SAMPLE_RATE / len(noisy)
            parts.setdefault(key, []).append(np.append(values - before, share))
    gain, stoi = (float(value) for value in np.mean(whole, axis=0))
    results: dict[str, dict] = {"full": {"pesq": gain, "stoi": stoi, "files": len(whole)}}
    for (name, below), changes in parts.items():
        change, stoi, share = (float(value) for value in np.mean(changes, axis=0))
        kept = change / gain if gain > 0 else None
        results.setdefault(name, {})[below] = {"kept": kept, "pesq": change, "stoi": stoi, "enhanced": share}
    return results
