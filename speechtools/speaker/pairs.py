"""Trials of two recordings each, as in the lists of VoxCeleb, and their scores by a model.

:mod:`speechtools.speaker.trials` describes the form of the lists.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechtools.core.errors import AudioError, CorpusError, printable
from speechtools.speaker.calibration import Conditions, Side, conditions_of
from speechtools.speaker.trials import Trials, read_lines

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel
    from speechtools.speaker.inference import SpeakerEncoder


@dataclass(frozen=True)
class Pair:
    """A trial of two recordings, of a list in VoxCeleb's form.

    Attributes
    ----------
    line : int
        Its line in the list, from 1.
    target : bool
        Whether both recordings are of the same speaker.
    first, second : str
        The recordings, as in the list.
    """

    line: int
    target: bool
    first: str
    second: str


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a list of trials of recordings: ``1 a.wav b.wav`` (the same speaker) or ``0 a.wav b.wav`` on each line.

    The fields are separated by spaces, tabs or commas; names with spaces need tabs or commas.

    Raises
    ------
    CorpusError
        The list is missing or empty, has a malformed line, or trials of one kind only.
    """
    pairs = []
    for number, line in read_lines(Path(path)):
        if len(line) != 3 or line[0] not in ("0", "1") or not all(line):
            text = printable(" ".join(line))
            raise CorpusError(
                f"Line {number} of {path} is {text[:100]!r} instead of `1 a.wav b.wav` or `0 a.wav b.wav`. Separate "
                "the fields by tabs if a name contains spaces."
            )
        pairs.append(Pair(number, line[0] == "1", line[1], line[2]))
    kinds = {pair.target for pair in pairs}
    if len(kinds) < 2:
        kind = "target (1)" if True in kinds else "non-target (0)"
        raise CorpusError(f"All {len(pairs)} trials of {path} are {kind} trials. Error rates need both kinds.")
    return pairs


def pair_recordings(pairs: Iterable[Pair], root: str | Path) -> dict[str, Path]:
    """Return the recordings of trials by their names in the list, each once, in the order of the list."""
    return {name: Path(root) / name for pair in pairs for name in (pair.first, pair.second)}


def score_pairs(
    encoder: "SpeakerEncoder",
    pairs: Sequence[Pair],
    root: str | Path,
    batch_size: int = 32,
    *,
    channel: "Channel" = "mix",
    progress: Callable[[Iterator], Iterable] = iter,
) -> tuple[np.ndarray, dict[str, AudioError]]:
    """Score trials of recordings by the cosine of their d-vectors. Each recording is embedded once.

    Parameters
    ----------
    encoder : SpeakerEncoder
    pairs : sequence of Pair
        As :func:`read_pairs` returns them.
    root : str or Path
        The folder of the recordings.
    batch_size : int
        Recordings that are embedded together.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.
    progress : callable
        Wraps the iterator over the recordings, for a progress bar.

    Returns
    -------
    scores : np.ndarray
        (pairs,): cosines; NaN for the trials of a recording that cannot be used.
    errors : dict of str to AudioError
        Why a recording cannot be used, by its name in the list.

    Raises
    ------
    CorpusError
        A d-vector is not finite.

    Examples
    --------
    >>> from speechtools.inference import SpeakerEncoder
    >>> pairs = read_pairs("veri_test.txt")  # doctest: +SKIP
    >>> scores, errors = score_pairs(SpeakerEncoder.from_hparams(), pairs, "voxceleb1/wav")  # doctest: +SKIP
    """
    rated = rate_pairs(encoder, pairs, root, batch_size, channel=channel, progress=progress)
    return rated.scores, rated.errors


@dataclass(frozen=True)
class RatedPairs:
    """Trials of recordings, rated by a model.

    Attributes
    ----------
    scores : np.ndarray
        (pairs,): cosines; NaN for the trials of a recording that cannot be used, here and below.
    normalized : np.ndarray
        (pairs,): what a calibration takes: the scores, normalised if the model has a cohort.
    llrs : np.ndarray or None
        (pairs,): log-likelihood ratios, if the model is calibrated.
    conditions : Conditions
        Of the pairs.
    errors : dict of str to AudioError
        Why a recording cannot be used, by its name in the list.
    """

    scores: np.ndarray
    normalized: np.ndarray
    llrs: np.ndarray | None
    conditions: Conditions
    errors: dict[str, AudioError]


def rate_pairs(
    encoder: "SpeakerEncoder",
    pairs: Sequence[Pair],
    root: str | Path,
    batch_size: int = 32,
    *,
    channel: "Channel" = "mix",
    progress: Callable[[Iterator], Iterable] = iter,
) -> RatedPairs:
    """Do as :func:`score_pairs`, and return also log-likelihood ratios, if the model is calibrated.

    A calibration that uses quality needs ``encoder.assess_for_calibration()`` before; unknown quality counts as the
    mean.
    """
    files = pair_recordings(pairs, root)
    embedded = progress(encoder.embed_files(files.values(), batch_size, channel=channel))
    results = {name: result for name, (_, result) in zip(files, embedded, strict=True)}
    errors = {name: result for name, result in results.items() if isinstance(result, AudioError)}
    usable = [pair.first not in errors and pair.second not in errors for pair in pairs]
    scores, normalized = np.full((2, len(pairs)), np.nan)
    unknown = Side()
    sides = {name: unknown if name in errors else result.side for name, result in results.items()}
    conditions = conditions_of([sides[pair.first] for pair in pairs], [sides[pair.second] for pair in pairs])
    if any(usable):
        names = [name for name in files if name not in errors]
        index = {name: number for number, name in enumerate(names)}
        kept = list(itertools.compress(pairs, usable))
        models, tests = np.array([(index[pair.first], index[pair.second]) for pair in kept]).T
        targets = np.array([pair.target for pair in kept])
        trials = Trials(names, [np.array([number]) for number in index.values()], models, tests, targets)
        dvectors = np.stack([results[name].dvector.numpy() for name in names])
        scores[usable] = normalized[usable] = trials.scores(dvectors, names)
        if encoder.normalization is not None:
            normalized[usable] = trials.scores(dvectors, names, encoder.normalization)
    llrs = None if encoder.calibration is None else encoder.calibration.llr(normalized, conditions)
    return RatedPairs(scores, normalized, llrs, conditions, errors)
