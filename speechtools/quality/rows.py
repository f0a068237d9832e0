"""A labelled file as a row of a manifest, and what training takes from it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechtools.core.errors import ConfigError
from speechtools.core.rows import Row
from speechtools.corpora.row_checks import check_length, check_score, check_snr
from speechtools.degradations.causes import parse_causes
from speechtools.quality.further import check_measures


@dataclass(frozen=True, kw_only=True)
class QualityRow(Row, manifest="quality"):
    """A labelled file.

    Attributes
    ----------
    ID : str
    duration : float
        In seconds.
    path, speech : Path
        The file, and the clean utterance that it was made from; in the subset ``corpus`` both are the same.
    score : float
    measure : str
        What the score is on.
    subset : str
        ``clean`` or ``corpus`` for a recording as it is, without or with degradations of its own; ``noisy``,
        ``enhanced`` (noisy and then enhanced), or the name of another degradation, with its options if it has several.
    speaker : str
    noise_type, noise, snr_db
        What was added to the speech: its type, recording and SNR (dB); empty for clean speech.
    causes : str, optional
        What makes the quality bad, and when, as :func:`speechtools.degradations.causes.parse_causes` reads it; empty if
        unknown.
    measures : str, optional
        Further scores of the file by measure, as :func:`speechtools.quality.further.parse_measures` reads them.
    """

    former_columns = {"pesq": "Rename the column pesq to score and add the column measure, or prepare it again."}

    ID: str
    duration: float
    path: Path
    speech: Path
    score: float
    measure: str
    subset: str
    speaker: str
    noise_type: str = ""
    noise: Path | None = None
    snr_db: float | None = None
    causes: str | None = None
    measures: str | None = None

    def check(self) -> Iterator[str]:
        """Check the file, the score, and that noise and subset agree."""
        yield from check_length(self.path, self.duration)
        yield from check_score(self.score, self.measure)
        yield from check_measures(self.measures)
        if self.subset == "noisy" and (not self.noise_type or self.snr_db is None):
            yield "subset=noisy, but noise_type or snr_db is empty."
        if self.subset in ("clean", "corpus") and (self.noise or self.snr_db is not None):
            yield f"subset={self.subset}, but noise or snr_db is not empty."
        if self.snr_db is not None:
            yield from check_snr(self.snr_db)


def cause_targets(text: str | None, times: np.ndarray, duration: float = math.inf) -> torch.Tensor:
    """Targets of a network's causes at times in seconds (time,), from a row's ``causes``: (time, causes).

    1 is present, -1 absent, 0 unknown. Nothing is known before 0 and after ``duration``.

    Examples
    --------
    >>> cause_targets("noise 0-1", np.array([0.5, 1.5]))[:, :2].tolist()
    [[1.0, -1.0], [-1.0, -1.0]]
    """
    targets = torch.from_numpy(2 * parse_causes(text, times) - 1).nan_to_num(0.0)
    targets[(times < 0) | (times > duration)] = 0.0
    return targets


def draw_utterances(rows: list[QualityRow], count: int | None, seed: int = 0) -> list[QualityRow]:
    """Keep the rows of ``count`` drawn utterances, in their order; None keeps all. Smaller draws are subsets of larger.

    Raises
    ------
    ConfigError
        There are fewer utterances.
    """
    if count is None:
        return rows
    utterances = sorted({str(row.speech) for row in rows})
    if not 0 < count <= len(utterances):
        raise ConfigError(f"num_train_utterances={count}: the training set has {len(utterances)}. Null takes all.")
    order = np.random.default_rng([seed, 6]).permutation(len(utterances))
    drawn = {utterances[i] for i in order[:count]}
    return [row for row in rows if str(row.speech) in drawn]
