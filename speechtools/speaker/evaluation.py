"""The test of a speaker encoder: trials, error rates, and what is left of them on the disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from speechtools.core import metrics
from speechtools.core.results import print_outputs, write_json
from speechtools.speaker import plots
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import Trials, make_trials, read_trials


@dataclass(frozen=True)
class TrialSet:
    """Trials over the utterances of a store, with what the figures need of it."""

    trials: Trials
    speakers: np.ndarray
    names: list[str]
    utt_ids: object


@dataclass(frozen=True)
class SpeakerResult:
    """Scores (trials,) of the two kinds, the d-vectors (utterances, emb) that they come from, and the figures."""

    figures: dict[str, float]
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
    """The trials of a store: all against all, or those of a ``published`` list (see :mod:`speechtools.speaker.trials`).

    ``max_nontargets`` draws so many of the non-target ones, for corpora of thousands of speakers.
    """
    speakers = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
    # (utterances,)
    if published:
        trials = read_trials(published, store.utt_ids)
    else:
        trials = make_trials(speakers, store.speakers, num_enrolment, seed, max_nontargets)
    return TrialSet(trials, speakers, store.speakers, store.utt_ids)


def evaluate(dvectors, trial_set: TrialSet) -> SpeakerResult:
    """Error rates of the d-vectors (utterances, emb) of a whole store.

    ``figures`` holds ``eer`` and the ``eer_threshold`` at it, ``min_dcf`` (normalised, at 1 % targets), ``min_dcf_05``
    (at 5 %), and the numbers of speakers and trials.
    """
    dvectors = np.asarray(dvectors, dtype=np.float64)
    trials = trial_set.trials
    scores = trials.scores(dvectors, trial_set.utt_ids)
    targets, nontargets = scores[trials.targets], scores[~trials.targets]
    rate, threshold = metrics.eer(targets, nontargets)
    figures = {
        "eer": rate,
        "eer_threshold": threshold,
        "min_dcf": metrics.min_dcf(targets, nontargets, p_target=0.01),
        "min_dcf_05": metrics.min_dcf(targets, nontargets, p_target=0.05),
        "models": len(trials.names),
        "target_trials": len(targets),
        "nontarget_trials": len(nontargets),
    }
    return SpeakerResult(figures, targets, nontargets, dvectors, trial_set)


def report(run: str | Path, result: SpeakerResult, facts: dict) -> None:
    """A table on the screen, and in ``run``: ``results.json``, the trials, their scores, and the figures.

    ``facts`` say what was trained on what, and must hold ``trained_on``.
    """
    run, figures, trial_set = Path(run), result.figures, result.trial_set
    write_json(run / "results.json", facts | figures)
    trial_set.trials.write(run, trial_set.utt_ids)
    title = f"Test on {facts['trained_on']}, speakers not heard in training"
    drawn = [
        plots.det(run / "figures" / "det.png", {"test": (result.target_scores, result.nontarget_scores)}, title),
        plots.similarity_matrix(
            run / "figures" / "similarity.png", result.dvectors, trial_set.speakers, trial_set.names, title
        ),
        plots.projection(
            run / "figures" / "projection.png", result.dvectors, trial_set.speakers, trial_set.names, title
        ),
    ]
    table = Table(title=title, title_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("EER", f"{100 * figures['eer']:.2f} %")
    table.add_row("minDCF, 1 % targets (normalised)", f"{figures['min_dcf']:.3f}")
    table.add_row("minDCF, 5 % targets (normalised)", f"{figures['min_dcf_05']:.3f}")
    table.add_row("voiceprints", f"{figures['models']}")
    table.add_row("target and non-target trials", f"{figures['target_trials']} + {figures['nontarget_trials']}")
    console = Console()
    console.print(table)
    print_outputs(run, drawn, console)
