"""The test of an encoder on several keywords: enrolled with one, verified with another (GE2E paper, 3.1, table 1)."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from speechtools.core import metrics
from speechtools.core.errors import ConfigError
from speechtools.core.results import print_outputs, write_json
from speechtools.speaker import plots
from speechtools.speaker.evaluation import SpeakerResult, TrialSet, evaluate
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import Trials

logger = logging.getLogger(__name__)

#: The keyword of the enrolment, and that of the verification.
Pair = tuple[str, str]


def pair_trials(
    store: SpeakerStore, num_enrolment: int, seed: int = 0, keywords: Sequence | None = None
) -> dict[Pair, TrialSet]:
    """Trials for all ordered pairs of a store's keywords, the ``keywords`` first, in their order; it changes no draw.

    A speaker's voiceprint of a keyword is the mean of ``num_enrolment`` drawn utterances of it, the same ones for every
    verification keyword; tests are all the other utterances. A speaker who has too few of a keyword is left out of the
    pairs with it, with a warning.

    Raises
    ------
    ConfigError
        ``num_enrolment`` is less than 1, or a pair is left with fewer than two speakers.
    """
    if num_enrolment < 1:
        raise ConfigError(f"num_enrolment={num_enrolment}: a voiceprint needs at least 1 utterance.")
    wished = [str(keyword) for keyword in keywords or ()]  # a yaml makes numbers of digits
    if strangers := [keyword for keyword in wished if keyword not in store.keywords]:
        raise ConfigError(
            f"Nobody says {strangers[0]!r} in {store.manifest}; said are: {', '.join(map(repr, store.keywords))}. "
            "Leave it out of the keywords, or use speakers who say it."
        )
    order = [*map(store.keywords.index, wished), *(k for k, word in enumerate(store.keywords) if word not in wished)]
    rng = np.random.default_rng([seed, 6])
    speakers = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
    # (utterances,)
    prints: dict[tuple[int, int], np.ndarray] = {}
    for word, keyword in enumerate(store.keywords):
        left_out = []
        for label, speaker in enumerate(store.speakers):
            members = np.flatnonzero((speakers == label) & (store.keyword == word))
            if len(members) > num_enrolment:
                prints[word, label] = np.sort(rng.permutation(members)[:num_enrolment])
            else:
                left_out.append(f"{speaker} ({len(members)})")
        if left_out:
            logger.warning(
                "%d of %d speakers have no more than %d utterances of %r, and are left out of the pairs with it: %s%s",
                len(left_out),
                len(store.speakers),
                num_enrolment,
                keyword,
                ", ".join(left_out[:5]),
                " …" if len(left_out) > 5 else "",
            )
    found = {}
    for enrol, verify in itertools.product(order, repeat=2):
        pair = store.keywords[enrol], store.keywords[verify]
        labels = [k for k in range(len(store.speakers)) if (enrol, k) in prints and (verify, k) in prints]
        if len(labels) < 2:
            raise ConfigError(
                f"{len(labels)} of {len(store.speakers)} speakers have more than num_enrolment={num_enrolment} "
                f"utterances of {pair[0]!r} and of {pair[1]!r}, and verification needs at least 2 such. Lower "
                "num_enrolment, or use a larger corpus."
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
        found[pair] = TrialSet(trials, speakers, store.speakers, store.utt_ids)
    return found


@dataclass(frozen=True)
class KeywordResult:
    """The results of all pairs, and ``figures``: their mean ``eer`` and ``min_dcf``, and one ``eer_threshold``."""

    pairs: dict[Pair, SpeakerResult]
    figures: dict[str, float]

    @property
    def keywords(self) -> list[str]:
        """In the order of the table."""
        return list(dict.fromkeys(enrol for enrol, _ in self.pairs))

    def table(self) -> np.ndarray:
        """EERs (enrolment keywords, verification keywords), as table 1 has them."""
        return np.array([[self.pairs[a, b].figures["eer"] for b in self.keywords] for a in self.keywords])


def evaluate_pairs(dvectors, trial_sets: dict[Pair, TrialSet]) -> KeywordResult:
    """Error rates of the d-vectors (utterances, emb) of a whole store, pair by pair.

    The threshold is that at the EER of the trials of all pairs together: whoever verifies does not know with which
    keyword a voice was enrolled.
    """
    pairs = {pair: evaluate(dvectors, trial_set) for pair, trial_set in trial_sets.items()}
    _, threshold = metrics.eer(
        np.concatenate([result.target_scores for result in pairs.values()]),
        np.concatenate([result.nontarget_scores for result in pairs.values()]),
    )
    means = {key: float(np.mean([result.figures[key] for result in pairs.values()])) for key in ("eer", "min_dcf")}
    return KeywordResult(pairs, means | {"eer_threshold": threshold})


def report(run: str | Path, result: KeywordResult, facts: dict) -> None:
    """The table on the screen, and in ``run``: ``results.json``, the trials of every pair, DET curves and the heat map.

    ``facts`` say what was trained on what, and must hold ``tested_on``.
    """
    run = Path(run)
    cells = {f"{a} -> {b}": each.figures for (a, b), each in result.pairs.items()}
    write_json(run / "results.json", facts | result.figures | {"pairs": cells})
    for (a, b), each in result.pairs.items():
        folder = "-".join(a.split()) + "_to_" + "-".join(b.split())
        each.trial_set.trials.write(run / "trials" / folder, each.trial_set.utt_ids)
    title = f"EER on {facts['tested_on']}, speakers not heard in training"
    curves = {f"{a} → {b}": (each.target_scores, each.nontarget_scores) for (a, b), each in result.pairs.items()}
    drawn = [
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
    console.print(f"mean: {100 * result.figures['eer']:.2f} %")
    print_outputs(run, drawn, console)
