"""The test of a speaker encoder: trials, error rates, and the files of a report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from speechtools.core import metrics
from speechtools.core.results import print_outputs, write_json
from speechtools.speaker import plots
from speechtools.speaker.calibration import Conditions
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import Trials, make_pairs, make_trials, read_trials
from speechtools.speaker.weighing import QualityModel, speech_quality

if TYPE_CHECKING:
    from speechtools.speaker.inference import SpeakerEncoder

logger = logging.getLogger(__name__)

#: With fewer speakers, trials are few and an EER is a coarse measure.
FEW_SPEAKERS = 10
_RESAMPLES = 400


@dataclass(frozen=True)
class TrialSet:
    """Trials over the utterances of a store, with the data of the store that plots need.

    Attributes
    ----------
    trials : Trials
    speakers : np.ndarray
        (utterances,): labels.
    names : list of str
        Of the speakers, by label.
    utt_ids : sequence of str
    """

    trials: Trials
    speakers: np.ndarray
    names: list[str]
    utt_ids: Sequence[str]


@dataclass(frozen=True)
class SpeakerResult:
    """Metrics, the scores (trials,) of target and non-target trials, and the d-vectors (utterances, emb)."""

    metrics: dict[str, float]
    target_scores: np.ndarray
    nontarget_scores: np.ndarray
    dvectors: np.ndarray
    trial_set: TrialSet


def trials_of(
    store: SpeakerStore,
    num_enrolment: int,
    seed: int = 0,
    published: str | Path | None = None,
    max_nontargets: int | None = None,
) -> TrialSet:
    """The trials of a store: all against all, or those of a ``published`` list.

    With one utterance to enroll, every utterance is compared with every other one. See
    :mod:`speechtools.speaker.trials` for the form of a list and for the other parameters. A store of few speakers is
    reported with a warning.
    """
    if len(store.speakers) < FEW_SPEAKERS:
        logger.warning("%s has only %d speakers, so its EER is inexact.", store.manifest, len(store.speakers))
    speakers = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
    # (utterances,)
    if published:
        trials = read_trials(published, store.utt_ids)
    elif num_enrolment == 1:
        trials = make_pairs(speakers, store.speakers, seed, max_nontargets)
    else:
        trials = make_trials(speakers, store.speakers, num_enrolment, seed, max_nontargets)
    return TrialSet(trials, speakers, store.speakers, store.utt_ids)


def evaluate(dvectors: ArrayLike, trial_set: TrialSet) -> SpeakerResult:
    """Error rates of the d-vectors (utterances, emb) of a whole store.

    ``metrics`` has ``eer`` and its threshold ``eer_threshold``, ``min_dcf`` (normalised, at 1 % targets),
    ``min_dcf_05`` (at 5 %), ``min_cllr``, and the numbers of models and trials.
    """
    dvectors = np.asarray(dvectors, dtype=np.float64)
    trials = trial_set.trials
    scores = trials.scores(dvectors, trial_set.utt_ids)
    targets, nontargets = scores[trials.targets], scores[~trials.targets]
    rate, threshold = metrics.eer(targets, nontargets)
    values = {
        "eer": rate,
        "eer_threshold": threshold,
        "min_dcf": metrics.min_dcf(targets, nontargets, p_target=0.01),
        "min_dcf_05": metrics.min_dcf(targets, nontargets, p_target=0.05),
        "min_cllr": metrics.min_cllr(targets, nontargets),
        "models": len(trials.names),
        "target_trials": len(targets),
        "nontarget_trials": len(nontargets),
    }
    return SpeakerResult(values, targets, nontargets, dvectors, trial_set)


def eer_interval(result: SpeakerResult, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the EER of a result, in which speakers and not trials are independent.

    It is the bootstrap over speakers. Of fewer than 10 speakers, or without an error, resamples say too little. It is
    then the exact binomial interval in which each speaker counts as one trial.

    Examples
    --------
    >>> from speechtools.speaker.trials import make_trials
    >>> speakers = np.repeat(np.arange(3), 5)
    >>> trial_set = TrialSet(make_trials(speakers, ["a", "b", "c"], 2), speakers, ["a", "b", "c"], [])
    >>> low, high = eer_interval(evaluate(np.eye(3)[speakers], trial_set))  # no error, of 3 speakers
    >>> f"{low:.0%} to {high:.0%}"
    '0% to 71%'
    """
    trials, speakers, rate = result.trial_set.trials, result.trial_set.speakers, result.metrics["eer"]
    enrolled = np.array([speakers[members[0]] for members in trials.enrolments])[trials.models]
    tested = speakers[trials.tests]
    # (trials,)
    number = len(np.unique(enrolled))
    # A published list may divide speakers in another way.
    if number < FEW_SPEAKERS or not 0 < rate < 1 or ((enrolled == tested) != trials.targets).any():
        return metrics.eer_interval(rate, number, number, level)
    scores = np.empty(len(trials.targets))
    scores[trials.targets], scores[~trials.targets] = result.target_scores, result.nontarget_scores
    return metrics.eer_bootstrap(scores, enrolled, tested, level, _RESAMPLES)


def with_reference(result: SpeakerResult, untrained: SpeakerResult | None = None) -> dict[str, float]:
    """The metrics of a result, with the interval of the EER, and the EER of an untrained encoder if there is one."""
    low, high = eer_interval(result)
    reference = {} if untrained is None else {"untrained_eer": untrained.metrics["eer"]}
    return result.metrics | {"eer_low": low, "eer_high": high} | reference


def with_calibration(
    results: Mapping[str, SpeakerResult],
    encoder: "SpeakerEncoder",
    stores: Mapping[str, SpeakerStore],
    quality: QualityModel | None = None,
) -> dict[str, SpeakerResult]:
    """Results with the metrics of log-likelihood ratios, if the encoder is calibrated.

    They are ``cllr``, ``calibrated_min_cllr``, ``calibrated_eer``, and ``misses`` and ``false_alarms`` at the
    probability 0.5.

    Parameters
    ----------
    results : mapping of SpeakerResult
        By source.
    encoder : SpeakerEncoder
        The one that the d-vectors are of.
    stores : mapping of SpeakerStore
        The stores that the results are of.
    quality : QualityModel, optional
        Scores the quality of both sides, if the calibration uses it.
    """
    if encoder.calibration is None:
        return dict(results)
    return {name: _calibrated(result, encoder, stores[name], quality) for name, result in results.items()}


def _calibrated(
    result: SpeakerResult, encoder: "SpeakerEncoder", store: SpeakerStore, quality: QualityModel | None
) -> SpeakerResult:
    seconds = store.num_samples / encoder.sample_rate
    qualities = np.full(len(store), np.nan)
    if quality is not None:
        scored = [speech_quality(quality, store.read(u), encoder.sample_rate) for u in range(len(store))]
        qualities = np.array(scored, dtype=np.float64)
    # (utterances,)
    trials = result.trial_set.trials
    scores = trials.scores(result.dvectors, result.trial_set.utt_ids, encoder.normalization)
    conditions = Conditions(
        recordings=np.array([len(members) for members in trials.enrolments])[trials.models],
        model_seconds=np.array([seconds[members].sum() for members in trials.enrolments])[trials.models],
        test_seconds=seconds[trials.tests],
        model_quality=np.array([qualities[members].mean() for members in trials.enrolments])[trials.models],
        test_quality=qualities[trials.tests],
    )
    ratios = encoder.calibration.llr(scores, conditions)  # type: ignore[union-attr]
    targets, nontargets = ratios[trials.targets], ratios[~trials.targets]
    values = {
        "cllr": metrics.cllr(targets, nontargets),
        "calibrated_min_cllr": metrics.min_cllr(targets, nontargets),
        "calibrated_eer": metrics.eer(targets, nontargets)[0],
        "misses": float((targets < 0).mean()),
        "false_alarms": float((nontargets >= 0).mean()),
    }
    return replace(result, metrics=result.metrics | values)


def evaluate_sources(dvectors: ArrayLike, trial_sets: dict[str, TrialSet]) -> dict[str, SpeakerResult]:
    """Error rates of each source; ``dvectors`` has the utterances of all stores, one store after the other."""
    dvectors, results, first = np.asarray(dvectors), {}, 0
    for name, trial_set in trial_sets.items():
        last = first + len(trial_set.speakers)
        results[name] = evaluate(dvectors[first:last], trial_set)
        first = last
    return results


def mean_metrics(results: dict[str, SpeakerResult]) -> dict[str, float]:
    """Means of the metrics over sources, in which each counts the same, and the EER of each if there are several."""
    keys = ("eer", "min_dcf", "eer_threshold")
    means = {key: float(np.mean([result.metrics[key] for result in results.values()])) for key in keys}
    if len(results) > 1:
        means |= {f"eer_{name}": result.metrics["eer"] for name, result in results.items()}
    return means


def report(
    run: str | Path,
    results: dict[str, SpeakerResult],
    facts: dict,
    untrained: dict[str, SpeakerResult] | None = None,
) -> None:
    """Print a table, and write ``results.json``, the trials and plots to ``run``.

    Parameters
    ----------
    run : str or Path
        The trials of several sources are in subfolders with their names.
    results : dict of SpeakerResult
        By source.
    facts : dict
        They go to the results, and must contain ``trained_on``.
    untrained : dict of SpeakerResult, optional
        Those of an untrained encoder of the same architecture, by source. A corpus on which it does well gives speakers
        away by other things than their voices.
    """
    run = Path(run)
    several = list(results) != ["main"]
    metrics_of = {name: with_reference(result, (untrained or {}).get(name)) for name, result in results.items()}
    values = {"sources": metrics_of} if several else next(iter(metrics_of.values()))
    write_json(run / "results.json", facts | values)
    title = f"Test on {facts['trained_on']}, speakers not in training"
    curves = {
        name if several else "test": (result.target_scores, result.nontarget_scores) for name, result in results.items()
    }
    short = "Test speakers of each source, not in training" if several else title
    paths = [plots.det(run / "figures" / "det.png", curves, short)]
    for name, result in results.items():
        trial_set, suffix = result.trial_set, f"-{name}" if several else ""
        trial_set.trials.write(run / name if several else run, trial_set.utt_ids)
        heading = f"Test speakers of {name}, not in training" if several else title
        data = result.dvectors, trial_set.speakers, trial_set.names, heading
        paths.append(plots.similarity_matrix(run / "figures" / f"similarity{suffix}.png", *data))
        paths.append(plots.projection(run / "figures" / f"projection{suffix}.png", *data))
    table = Table(title=short, title_style="bold")
    table.add_column("metric")
    for name in results:
        table.add_column(name if several else "value", justify="right")
    rows = {
        "EER": lambda m: f"{100 * m['eer']:.2f} %",
        "95 % interval": lambda m: f"{100 * m['eer_low']:.1f} to {100 * m['eer_high']:.1f} %",
        "EER of an untrained encoder": lambda m: f"{100 * m['untrained_eer']:.2f} %" if "untrained_eer" in m else "-",
        "minDCF, 1 % targets (normalised)": lambda m: f"{m['min_dcf']:.3f}",
        "minDCF, 5 % targets (normalised)": lambda m: f"{m['min_dcf_05']:.3f}",
        "min Cllr (bits)": lambda m: f"{m['min_cllr']:.3f}",
        "Cllr, calibrated": lambda m: f"{m['cllr']:.3f}",
        "min Cllr, calibrated": lambda m: f"{m['calibrated_min_cllr']:.3f}",
        "EER, calibrated": lambda m: f"{100 * m['calibrated_eer']:.2f} %",
        "misses, calibrated": lambda m: f"{100 * m['misses']:.2f} %",
        "false alarms, calibrated": lambda m: f"{100 * m['false_alarms']:.2f} %",
        "voiceprints": lambda m: f"{m['models']}",
        "target and non-target trials": lambda m: f"{m['target_trials']} + {m['nontarget_trials']}",
    }
    calibrated = any("cllr" in values for values in metrics_of.values())
    for label, text in rows.items():
        if calibrated or "calibrated" not in label:
            table.add_row(label, *(text(values) for values in metrics_of.values()))
    console = Console()
    console.print(table)
    print_outputs(run, paths, console)
