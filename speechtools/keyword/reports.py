"""The report of a trained detector: errors in tokens and words, and the score from which a phrase counts as heard."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from speechtools.core.plots import LINE_COLORS, save, set_title
from speechtools.core.results import print_outputs, write_json
from speechtools.keyword.confusions import Confusions, count_confusions, heard_events
from speechtools.keyword.inference import KeywordDetector
from speechtools.keyword.search import Phrase
from speechtools.keyword.tokens import BLANK, SentencePieceTokens
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

#: Phrases that are searched for, and their number of words and least number of letters.
NUM_PHRASES, PHRASE_WORDS, PHRASE_LETTERS = 200, 2, 8


class TokenErrors:
    """Collects what was heard and what was spoken.

    Examples
    --------
    >>> import torch
    >>> errors = TokenErrors()
    >>> log_probs = torch.eye(4)[[1, 1, 0, 2]].log().unsqueeze(0)
    >>> errors.append(log_probs, torch.tensor([4]), [torch.tensor([1, 3])])
    >>> errors.heard, errors.spoken
    ([[1, 2]], [[1, 3]])
    """

    def __init__(self) -> None:
        self.heard: list[list[int]] = []
        self.spoken: list[list[int]] = []

    def append(self, log_probs: Tensor, steps: Tensor, tokens: Sequence[Tensor]) -> None:
        """Add a batch: log_probs (batch, steps, num_tokens), steps (batch,), and the tokens (tokens,) of each item."""
        for best, count, spoken in zip(log_probs.argmax(dim=2), steps.tolist(), tokens, strict=True):
            heard = best[:count].unique_consecutive()
            self.heard.append(heard[heard != BLANK].tolist())
            self.spoken.append(spoken.tolist())

    def rates(self, tokens: SentencePieceTokens) -> dict[str, float]:
        """Return the rates of wrong, missing and additional tokens and words, relative to those that were spoken."""
        words = [[tokens.decode(item).split() for item in items] for items in (self.heard, self.spoken)]
        return {
            "token_error_rate": error_rate(self.heard, self.spoken),
            "word_error_rate": error_rate(*words),
        }


def error_rate(heard: Sequence[Sequence[Any]], spoken: Sequence[Sequence[Any]]) -> float:
    """Edit distances of pairs of sequences, relative to the length of the spoken ones.

    >>> error_rate([[1, 2, 3], [4]], [[1, 3], [5, 4]])
    0.5
    """
    from torchaudio.functional import edit_distance

    errors = sum(edit_distance(list(one), list(other)) for one, other in zip(heard, spoken, strict=True))
    return errors / max(sum(map(len, spoken)), 1)


def phrases_of(texts: Sequence[str], seed: int = 0) -> list[str]:
    """Draw phrases of two words in a row from texts."""
    pairs = set()
    for text in texts:
        words = text.split()
        for first in range(len(words) - PHRASE_WORDS + 1):
            phrase = " ".join(words[first : first + PHRASE_WORDS])
            if len(phrase.replace(" ", "")) >= PHRASE_LETTERS:
                pairs.add(phrase)
    ordered = sorted(pairs)
    chosen = np.random.default_rng([seed, 31]).permutation(len(ordered))[:NUM_PHRASES]
    return [ordered[k] for k in sorted(chosen)]


def confusions_of(model: KeywordDetector, store: SpeakerStore, num_utterances: int, seed: int = 0) -> Confusions | None:
    """Count how a model mishears tokens in utterances of a store, drawn at random, degraded copies included.

    Parameters
    ----------
    model : KeywordDetector
    store : SpeakerStore
        With texts, such as that of the training.
    num_utterances : int
        At most; 0: none, without a warning.
    seed : int
        Seeds the draw.

    Returns
    -------
    Confusions or None
        None, with a warning, if nothing is heard in them.
    """
    if not num_utterances:
        return None
    items = np.random.default_rng([seed, 32]).permutation(len(store) * store.num_versions)[:num_utterances]
    heard = []
    for version, utterance in zip(*divmod(items, len(store)), strict=True):
        log_probs = model.log_probs(store.read(int(utterance), version=int(version)).astype(np.float32) / 2**15)
        tokens = model.tokens.encode(store.keywords[int(store.keyword[utterance])])
        heard.append((heard_events(log_probs.numpy()), tokens))
    if not any(len(events) and tokens for events, tokens in heard):
        logger.warning("The detector hears nothing in %d utterances: confusions are not counted.", len(heard))
        return None
    return count_confusions(heard, len(model.tokens))[0]


def detection_scores(model: KeywordDetector, store: SpeakerStore, phrases: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The best score of phrases in the utterances of a store.

    Returns
    -------
    scores : np.ndarray
        (utterances, phrases)
    contained : np.ndarray
        (utterances, phrases): whether the phrase is in the text.
    """
    searched = [Phrase(text, model.tokens.encode(text), 0.0) for text in phrases]
    texts = [store.keywords[int(number)] for number in store.keyword]
    contained = np.array([[f" {phrase} " in f" {text} " for phrase in phrases] for text in texts])
    scores = np.zeros(contained.shape)
    for utterance in range(len(texts)):
        log_probs = model.log_probs(store.read(utterance).astype(np.float32) / 2**15)
        scores[utterance] = model.search(searched).best_scores(log_probs.numpy())
    return scores, contained


def threshold_of(scores: np.ndarray, contained: np.ndarray, hours: float, per_hour: float) -> tuple[float, float]:
    """The threshold at which a phrase is falsely heard so often an hour, and the share of the phrases missed then.

    Parameters
    ----------
    scores, contained : np.ndarray
        (utterances, phrases), as in :func:`detection_scores`.
    hours : float
        Of all utterances together.
    per_hour : float
        False alarms of a phrase in an hour.
    """
    false = np.sort(scores[~contained])[::-1]
    allowed = int(per_hour * hours * scores.shape[1])
    threshold = 0.5
    if len(false):  # the next number above the first score that is one false alarm too many
        threshold = min(float(np.nextafter(false[min(allowed, len(false) - 1)], 2.0)), 1.0)
    return threshold, float((scores[contained] < threshold).mean()) if contained.any() else 0.0


def operating_curve(path: str | Path, scores: np.ndarray, contained: np.ndarray, hours: float, title: str) -> Path:
    """Draw the share of missed phrases against the false alarms of a phrase in an hour.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    scores, contained : np.ndarray
        (utterances, phrases), as in :func:`detection_scores`.
    hours : float
        Of all utterances together.
    title : str
    """
    false = np.sort(scores[~contained])[::-1]
    counts = np.unique(np.geomspace(1, max(len(false), 1), 200).astype(int)) - 1
    limits = false[counts] if len(false) else np.zeros(0)
    rates = (counts + 1) / (max(hours, 1e-9) * scores.shape[1])
    misses = [100 * float((scores[contained] < limit).mean()) if contained.any() else 0.0 for limit in limits]
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.semilogx(rates[: len(limits)], misses, color=LINE_COLORS[0])
    axes.set(xlabel="false alarms of a phrase in an hour", ylabel="missed phrases (%)", ylim=(0, 100))
    set_title(axes, title)
    axes.grid(alpha=0.25)
    return save(figure, path)


def report(
    output_folder: str | Path, model: KeywordDetector, store: SpeakerStore, facts: dict[str, Any], per_hour: float
) -> KeywordDetector:
    """Set the threshold of a model by validation utterances, save it, print what it reaches, and write results.json.

    Parameters
    ----------
    output_folder : str or Path
        Of the run; the model is saved in its ``pretrained`` folder.
    model : KeywordDetector
    store : SpeakerStore
        Utterances that were not trained on. Phrases of two words of their texts are searched for in all of them.
    facts : dict
        With ``reached``, as :meth:`TokenErrors.rates` returns it.
    per_hour : float
        False alarms of a phrase in an hour, at the threshold.
    """
    output_folder = Path(output_folder)
    phrases = phrases_of([store.keywords[int(number)] for number in store.keyword])
    hours = float(store.num_samples.sum()) / model.sample_rate / 3600
    scores, contained = detection_scores(model, store, phrases)
    threshold, misses = threshold_of(scores, contained, hours, per_hour)
    model.threshold = model.hparams.threshold = threshold
    model.facts |= {"phrase_misses": misses, "false_alarms_per_hour": per_hour}
    model.save(output_folder / "pretrained")
    chosen = {"threshold": threshold, "phrase_misses": misses, "false_alarms_per_hour": per_hour}
    write_json(output_folder / "results.json", facts | chosen)
    origin = facts.get("trained_on", "speech")
    curve = operating_curve(
        output_folder / "figures" / "misses.png", scores, contained, hours, f"Validation speakers of {origin}"
    )
    table = Table(title=f"Test speakers of {origin}, not in training", title_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("wrong tokens", f"{100 * facts['reached']['token_error_rate']:.1f} %")
    table.add_row("wrong words", f"{100 * facts['reached']['word_error_rate']:.1f} %")
    table.add_row(f"missed of {int(contained.sum())} phrases (validation)", f"{100 * misses:.1f} %")
    table.add_row("false alarms of a phrase in an hour (validation)", f"{per_hour:g}")
    console = Console()
    console.print(table)
    print_outputs(output_folder, [curve], console)
    return model
