"""The test of an encoder on several keywords: enrolment with one, verification with another (GE2E paper, table 1)."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from speechtools.core import metrics
from speechtools.core.errors import ConfigError, first_of
from speechtools.core.results import print_outputs, write_json
from speechtools.core.spelling import did_you_mean
from speechtools.speaker import plots
from speechtools.speaker.evaluation import SpeakerResult, TrialSet, evaluate, with_reference
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import Trials

logger = logging.getLogger(__name__)

#: The keywords of enrolment and verification.
Pair = tuple[str, str]


def pair_trials(
    store: SpeakerStore, num_enrolment: int, seed: int = 0, keywords: Sequence | None = None
) -> dict[Pair, TrialSet]:
    """Trials for all ordered pairs of a store's keywords.

    A speaker's voiceprint of a keyword is the mean of ``num_enrolment`` random utterances of it, the same for every
    verification keyword; all other utterances are tests. Speakers with too few of a keyword are skipped in the pairs
    with it, with a warning.

    Parameters
    ----------
    store : SpeakerStore
        Utterances with keywords.
    num_enrolment : int
        Utterances per voiceprint.
    seed : int
        Seeds the draw.
    keywords : sequence, optional
        The first keywords of the table, in order; they do not change the draw.

    Raises
    ------
    ConfigError
        ``num_enrolment`` is less than 1, a keyword does not occur, or a pair has fewer than two speakers.
    """
    if num_enrolment < 1:
        raise ConfigError(f"num_enrolment={num_enrolment} must be at least 1.")
    first = [str(keyword) for keyword in keywords or ()]  # YAML reads digits as numbers
    for keyword in first:
        if keyword not in store.keywords:
            near, available = did_you_mean(keyword, store.keywords), ", ".join(store.keywords)
            raise ConfigError(f"No speaker says {keyword!r} in {store.manifest}.{near} Available: {available}.")
    order = [*map(store.keywords.index, first), *(k for k, word in enumerate(store.keywords) if word not in first)]
    rng = np.random.default_rng([seed, 6])
    speakers = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
    # (utterances,)
    prints: dict[tuple[int, int], np.ndarray] = {}
    for word, keyword in enumerate(store.keywords):
        skipped = []
        for label, speaker in enumerate(store.speakers):
            members = np.flatnonzero((speakers == label) & (store.keyword == word))
            if len(members) > num_enrolment:
                prints[word, label] = np.sort(rng.permutation(members)[:num_enrolment])
            else:
                skipped.append(f"{speaker} ({len(members)})")
        if skipped:
            counts = f"{len(skipped)} of {len(store.speakers)} speakers have no more than {num_enrolment} utterances"
            logger.warning("%s of %r, and are skipped in the pairs with it: %s", counts, keyword, first_of(skipped))
    trial_sets = {}
    for enrol, verify in itertools.product(order, repeat=2):
        pair = store.keywords[enrol], store.keywords[verify]
        labels = [k for k in range(len(store.speakers)) if (enrol, k) in prints and (verify, k) in prints]
        if len(labels) < 2:
            raise ConfigError(
                f"{len(labels)} of {len(store.speakers)} speakers have more than num_enrolment={num_enrolment} "
                f"utterances of {pair[0]!r} and of {pair[1]!r}, but verification needs 2. Lower num_enrolment."
            )
        enrolled = np.concatenate([prints[enrol, label] for label in labels])
        candidates = np.flatnonzero((store.keyword == verify) & np.isin(speakers, labels))
        tests = np.setdiff1d(candidates, enrolled)
        models, places = np.divmod(np.arange(len(labels) * len(tests)), len(tests))
        trials = Trials(
            [store.speakers[label] for label in labels],
            [prints[enrol, label] for label in labels],
            models,
            tests[places],
            np.asarray(labels)[models] == speakers[tests[places]],
        )
        trial_sets[pair] = TrialSet(trials, speakers, store.speakers, store.utt_ids)
    return trial_sets


@dataclass(frozen=True)
class KeywordResult:
    """The results of all pairs; ``metrics``: means of ``eer``, ``min_dcf`` and ``min_cllr``, and ``eer_threshold``."""

    pairs: dict[Pair, SpeakerResult]
    metrics: dict[str, float]

    @property
    def keywords(self) -> list[str]:
        """The keywords in the order of the table."""
        return list(dict.fromkeys(enrol for enrol, _ in self.pairs))

    def table(self) -> np.ndarray:
        """EERs (enrolment keywords, verification keywords), as in table 1."""
        return np.array([[self.pairs[a, b].metrics["eer"] for b in self.keywords] for a in self.keywords])


def evaluate_pairs(dvectors: ArrayLike, trial_sets: dict[Pair, TrialSet]) -> KeywordResult:
    """Error rates of the d-vectors (utterances, emb) of a whole store, pair by pair.

    The threshold is that at the EER of the trials of all pairs together, since the keyword of an enrolment is not known
    in verification.
    """
    pairs = {pair: evaluate(dvectors, trial_set) for pair, trial_set in trial_sets.items()}
    _, threshold = metrics.eer(
        np.concatenate([result.target_scores for result in pairs.values()]),
        np.concatenate([result.nontarget_scores for result in pairs.values()]),
    )
    means = {
        key: float(np.mean([result.metrics[key] for result in pairs.values()]))
        for key in ("eer", "min_dcf", "min_cllr")
    }
    return KeywordResult(pairs, means | {"eer_threshold": threshold})


def word_eer(dvectors: ArrayLike, store: SpeakerStore, seed: int = 0) -> float | None:
    """EER of telling words apart by d-vectors, whoever speaks them.

    Half of the speakers, drawn at random, give the voiceprint of a keyword: the mean of their utterances of it. Every
    utterance of the others is compared with all keywords.

    Parameters
    ----------
    dvectors : array_like
        (utterances, emb) of the store.
    store : SpeakerStore
        Utterances with keywords.
    seed : int
        Seeds the draw of the speakers.

    Returns
    -------
    float or None
        None if fewer than two keywords are spoken in both halves.
    """
    embedded = np.asarray(dvectors, dtype=np.float64)
    order = np.random.default_rng([seed, 9]).permutation(len(store.speakers))
    enrolling = np.isin(np.repeat(np.arange(len(store.speakers)), np.diff(store.first)), order[::2])
    # (utterances,)
    words = [word for word in range(len(store.keywords)) if len(set(enrolling[store.keyword == word].tolist())) == 2]
    if len(words) < 2:
        return None
    prints = np.stack([embedded[enrolling & (store.keyword == word)].mean(axis=0) for word in words])
    tests = ~enrolling & np.isin(store.keyword, words)
    scores = embedded[tests] @ (prints / np.linalg.norm(prints, axis=1, keepdims=True)).T
    # (tests, words)
    is_target = store.keyword[tests][:, None] == np.array(words)
    rate, _ = metrics.eer(scores[is_target], scores[~is_target])
    return float(rate)


def report(run: str | Path, result: KeywordResult, facts: dict, untrained: KeywordResult | None = None) -> None:
    """Print the table, and write ``results.json``, the trials of every pair, DET curves and the heat map to ``run``.

    Parameters
    ----------
    run : str or Path
    result : KeywordResult
    facts : dict
        They go to the results, and must contain ``tested_on``.
    untrained : KeywordResult, optional
        That of an untrained encoder of the same architecture.
    """
    run = Path(run)
    references = untrained.pairs if untrained else {}
    cells = {f"{a} -> {b}": with_reference(pair, references.get((a, b))) for (a, b), pair in result.pairs.items()}
    # All pairs have the same speakers, so the limits of the mean are about the means of the limits.
    means = {
        key: float(np.mean([cell[key] for cell in cells.values()]))
        for key in ("eer_low", "eer_high", *(["untrained_eer"] if untrained else []))
    }
    write_json(run / "results.json", facts | result.metrics | means | {"pairs": cells})
    for (a, b), pair in result.pairs.items():
        folder = "-".join(a.split()) + "_to_" + "-".join(b.split())
        pair.trial_set.trials.write(run / "trials" / folder, pair.trial_set.utt_ids)
    title = f"EER on {facts['tested_on']}, speakers not in training"
    curves = {f"{a} → {b}": (pair.target_scores, pair.nontarget_scores) for (a, b), pair in result.pairs.items()}
    paths = [
        plots.det(run / "figures" / "det.png", curves, title),
        plots.eer_table(run / "figures" / "eer_table.png", result.table(), result.keywords, title),
    ]
    table = Table(title=title, title_style="bold")
    table.add_column("enrolled with")
    for keyword in result.keywords:
        table.add_column(f"verified with {keyword}", justify="right")
    for keyword, row in zip(result.keywords, result.table(), strict=True):
        table.add_row(keyword, *(f"{100 * rate:.2f} %" for rate in row))
    console = Console()
    console.print(table)
    interval = f"95 % interval {100 * means['eer_low']:.1f} to {100 * means['eer_high']:.1f} %"
    console.print(f"mean: {100 * result.metrics['eer']:.2f} %, {interval}")
    if "word_eer" in facts.get("reached", {}):
        console.print(f"words, whoever speaks them: {100 * facts['reached']['word_eer']:.2f} %")
    if untrained:
        console.print(f"mean of an untrained encoder: {100 * means['untrained_eer']:.2f} %")
    print_outputs(run, paths, console)
