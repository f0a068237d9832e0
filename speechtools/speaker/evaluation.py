"""The test of a speaker encoder: trials, error rates, and the files of a report."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from speechtools.core import metrics
from speechtools.core.results import print_outputs, write_json
from speechtools.speaker import plots
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import Trials, make_trials, read_trials

logger = logging.getLogger(__name__)

#: With fewer speakers, trials are few and an EER is a coarse measure.
FEW_SPEAKERS = 10


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

    See :mod:`speechtools.speaker.trials` for the form of a list and for the other parameters. A store of few speakers
    is reported with a warning.
    """
    if len(store.speakers) < FEW_SPEAKERS:
        logger.warning("%s has only %d speakers, so its EER is inexact.", store.manifest, len(store.speakers))
    speakers = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
    # (utterances,)
    if published:
        trials = read_trials(published, store.utt_ids)
    else:
        trials = make_trials(speakers, store.speakers, num_enrolment, seed, max_nontargets)
    return TrialSet(trials, speakers, store.speakers, store.utt_ids)


def evaluate(dvectors: ArrayLike, trial_set: TrialSet) -> SpeakerResult:
    """Error rates of the d-vectors (utterances, emb) of a whole store.

    ``metrics`` has ``eer`` and its threshold ``eer_threshold``, ``min_dcf`` (normalised, at 1 % targets),
    ``min_dcf_05`` (at 5 %), and the numbers of models and trials.
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
        "models": len(trials.names),
        "target_trials": len(targets),
        "nontarget_trials": len(nontargets),
    }
    return SpeakerResult(values, targets, nontargets, dvectors, trial_set)


def report(run: str | Path, result: SpeakerResult, facts: dict) -> None:
    """Print a table, and write ``results.json``, the trials and plots to ``run``.

    ``facts`` go to the results and must contain ``trained_on``.
    """
    run, values, trial_set = Path(run), result.metrics, result.trial_set
    write_json(run / "results.json", facts | values)
    trial_set.trials.write(run, trial_set.utt_ids)
    title = f"Test on {facts['trained_on']}, speakers not in training"
    data = result.dvectors, trial_set.speakers, trial_set.names, title
    paths = [
        plots.det(run / "figures" / "det.png", {"test": (result.target_scores, result.nontarget_scores)}, title),
        plots.similarity_matrix(run / "figures" / "similarity.png", *data),
        plots.projection(run / "figures" / "projection.png", *data),
    ]
    table = Table(title=title, title_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("EER", f"{100 * values['eer']:.2f} %")
    table.add_row("minDCF, 1 % targets (normalised)", f"{values['min_dcf']:.3f}")
    table.add_row("minDCF, 5 % targets (normalised)", f"{values['min_dcf_05']:.3f}")
    table.add_row("voiceprints", f"{values['models']}")
    table.add_row("target and non-target trials", f"{values['target_trials']} + {values['nontarget_trials']}")
    console = Console()
    console.print(table)
    print_outputs(run, paths, console)
