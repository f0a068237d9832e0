"""Trials of speaker verification: voiceprints of a few utterances and what to compare them with (GE2E paper, 3).

Lists have one of two forms: that of this toolkit, ``model utterance target|nontarget``, with the enrolment of the
models beside it; or VoxCeleb's, ``1 utterance utterance`` or ``0 …``, where a single utterance is the voiceprint. A
line is split at tabs, so that names may contain spaces; without tabs, at commas if it begins with ``0,`` or ``1,``,
and at spaces otherwise.
"""

import csv
import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechtools.core.errors import ConfigError, CorpusError, first_of
from speechtools.core.files import write_aside
from speechtools.core.moved import former_names
from speechtools.core.spelling import did_you_mean
from speechtools.speaker.vectors import unit

logger = logging.getLogger(__name__)
__getattr__ = former_names(__name__)

#: Trials scored at a time, if they are few of all pairs.
_PAIRS_AT_A_TIME = 2**16


@dataclass(frozen=True)
class Trials:
    """Models, each enrolled from utterances, and the trials against them.

    Attributes
    ----------
    names : list of str
        Names of the models.
    enrolments : list of np.ndarray
        The indices of the utterances of each model.
    models, tests : np.ndarray
        (trials,): index of the model, and of the test utterance.
    targets : np.ndarray
        (trials,) booleans: whether the speaker is the same.
    """

    names: list[str]
    enrolments: list[np.ndarray]
    models: np.ndarray
    tests: np.ndarray
    targets: np.ndarray

    def scores(
        self, dvectors: np.ndarray, utt_ids: Sequence[str] | None = None, normalization: Any | None = None
    ) -> np.ndarray:
        """Cosines (trials,) of voiceprints and test utterances.

        All pairs are computed in one product, except for a long published list that names few of them.

        Parameters
        ----------
        dvectors : np.ndarray
            (utterances, emb)
        utt_ids : sequence of str, optional
            Names of the utterances in messages.
        normalization : nn.Module, optional
            A plugin of the kind ``score-norm``, by which the cosines are normalised.

        Raises
        ------
        CorpusError
            A d-vector is not finite.
        """
        dvectors = np.asarray(dvectors, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(dvectors).all(axis=1))
        if bad.size:
            example = f"utterance {bad[0] if utt_ids is None else repr(utt_ids[bad[0]])}"
            raise CorpusError(
                f"{bad.size} of {len(dvectors)} d-vectors are NaN or infinite, such as that of {example}."
            )
        prints = unit(np.stack([dvectors[members].mean(axis=0) for members in self.enrolments]))
        # (models, emb)
        test_utterances, place = np.unique(self.tests, return_inverse=True)
        tests = unit(dvectors[test_utterances])
        # (test_utterances, emb)
        if len(prints) * len(tests) <= 8 * max(len(place), 2**20):
            scores = (prints @ tests.T)[self.models, place]
        else:
            scores = np.empty(len(place))
            for start in range(0, len(place), _PAIRS_AT_A_TIME):
                part = slice(start, start + _PAIRS_AT_A_TIME)
                scores[part] = np.einsum("te,te->t", prints[self.models[part]], tests[place[part]])
        return scores if normalization is None else self._normalized(scores, prints, tests, place, normalization)

    def _normalized(
        self, scores: np.ndarray, prints: np.ndarray, tests: np.ndarray, place: np.ndarray, normalization: Any
    ) -> np.ndarray:
        import torch

        sides = (normalization.statistics(torch.from_numpy(side)).double() for side in (prints, tests))
        of_models, of_tests = next(sides)[self.models], next(sides)[place]
        return normalization(torch.from_numpy(scores).to(of_models), of_models, of_tests).cpu().numpy()

    def write(self, folder: str | Path, utt_ids: Sequence[str]) -> None:
        """Write ``trials.txt`` and ``enrolments.txt`` for :func:`read_trials`."""
        with write_aside(Path(folder) / "enrolments.txt") as aside:
            models = zip(self.names, self.enrolments, strict=True)
            lines = ("\t".join([name, *(utt_ids[i] for i in members)]) + "\n" for name, members in models)
            aside.write_text("".join(lines), encoding="utf-8")
        with write_aside(Path(folder) / "trials.txt") as aside, open(aside, "w", encoding="utf-8") as stream:
            for model, test, target in zip(self.models, self.tests, self.targets, strict=True):
                stream.write(f"{self.names[model]}\t{utt_ids[test]}\t{'target' if target else 'nontarget'}\n")


def make_trials(
    speakers: np.ndarray, names: Sequence[str], num_enrolment: int = 4, seed: int = 0, max_nontargets: int | None = None
) -> Trials:
    """Enrol every speaker with ``num_enrolment`` random utterances and test all with all other utterances.

    Parameters
    ----------
    speakers : np.ndarray
        (utterances,): the label of the speaker.
    names : sequence of str
        The speakers' names, by label.
    num_enrolment : int
        Utterances per voiceprint; speakers without more than these are skipped with a warning.
    seed : int
        Seeds the draw.
    max_nontargets : int, optional
        Draw so many of the non-target trials if there are more; their number grows with the square of the corpus.

    Raises
    ------
    ConfigError
        ``num_enrolment`` or ``max_nontargets`` is less than 1, or fewer than two speakers have enough utterances.

    Examples
    --------
    >>> trials = make_trials(np.array([0, 0, 0, 1, 1, 1]), ["a", "b"], num_enrolment=2)
    >>> len(trials.targets), int(trials.targets.sum())
    (4, 2)
    """
    if num_enrolment < 1:
        raise ConfigError(f"num_enrolment={num_enrolment} must be at least 1.")
    _check_most(max_nontargets)
    rng = np.random.default_rng([seed, 3])
    labels, enrolments, skipped = [], [], []
    for label in np.unique(speakers):
        members = np.flatnonzero(speakers == label)
        if len(members) <= num_enrolment:
            skipped.append(names[label])
            continue
        labels.append(label)
        enrolments.append(np.sort(rng.permutation(members)[:num_enrolment]))
    if skipped:
        counts = f"{len(skipped)} speakers have no more than {num_enrolment} utterances"
        logger.warning("%s, and are neither enrolled nor tested: %s", counts, first_of(skipped))
    if len(labels) < 2:
        raise ConfigError(
            f"{len(labels)} of {len(np.unique(speakers))} speakers have more than num_enrolment={num_enrolment} "
            "utterances, but verification needs 2. Lower num_enrolment, or use a larger corpus."
        )
    tests = np.setdiff1d(np.flatnonzero(np.isin(speakers, labels)), np.concatenate(enrolments))
    size = len(labels) * len(tests)
    if max_nontargets is None or max_nontargets + len(tests) >= size:
        pairs = np.arange(size)
    else:
        # Every test is the target of one model, so the sampled pairs contain at most as many targets as tests.
        own = np.searchsorted(labels, speakers[tests]) * len(tests) + np.arange(len(tests))
        sample = rng.choice(size, max_nontargets + len(tests), replace=False)
        pairs = np.sort(np.concatenate([own, sample[~np.isin(sample, own)][:max_nontargets]]))
    models, tests = pairs // len(tests), tests[pairs % len(tests)]
    targets = np.asarray(labels)[models] == speakers[tests]
    return Trials([names[label] for label in labels], enrolments, models, tests, targets)


def _check_most(max_nontargets: int | None) -> None:
    if max_nontargets is not None and max_nontargets < 1:
        raise ConfigError(f"max_nontargets={max_nontargets} must be at least 1, or None for all.")


def make_pairs(speakers: np.ndarray, names: Sequence[str], seed: int = 0, max_nontargets: int | None = None) -> Trials:
    """Compare every utterance with every other one: one utterance to enroll, without the chance of a draw.

    Parameters
    ----------
    speakers : np.ndarray
        (utterances,): the label of the speaker.
    names : sequence of str
        The speakers' names, by label. The model of an utterance is named ``speaker/number``, from 0.
    seed : int
        Seeds the draw.
    max_nontargets : int, optional
        Draw so many of the non-target trials if there are more; their number grows with the square of the corpus.

    Raises
    ------
    ConfigError
        ``max_nontargets`` is less than 1, there is one speaker, or no speaker has two utterances.

    Examples
    --------
    >>> trials = make_pairs(np.array([0, 0, 0, 1, 1]), ["a", "b"])
    >>> len(trials.targets), int(trials.targets.sum())
    (10, 4)
    """
    _check_most(max_nontargets)
    labels, places = np.unique(speakers), np.zeros(len(speakers), int)
    own = []
    for label in labels:
        members = np.flatnonzero(speakers == label)
        places[members] = np.arange(len(members))
        own.append(members[np.stack(np.triu_indices(len(members), 1))])
        # (2, pairs)
    targets = np.concatenate(own, axis=1)
    if len(labels) < 2 or not targets.size:
        raise ConfigError(
            f"{len(speakers)} utterances of {len(labels)} speakers give no pairs of one speaker, or none of two, but "
            "verification needs both. Use a larger corpus."
        )
    others = _pairs_of_two(speakers, targets.shape[1], seed, max_nontargets)
    models, tests = np.concatenate([targets, others], axis=1)
    prints = [f"{names[label]}/{place}" for label, place in zip(speakers, places, strict=True)]
    is_target = np.arange(len(models)) < targets.shape[1]
    return Trials(prints, list(np.arange(len(speakers))[:, None]), models, tests, is_target)


def _pairs_of_two(speakers: np.ndarray, num_targets: int, seed: int, most: int | None) -> np.ndarray:
    """Pairs (2, pairs) of utterances of two speakers, all or ``most`` of them, the first before the second."""
    size = len(speakers)
    if most is None or most >= size * (size - 1) // 2 - num_targets:
        pairs = np.stack(np.triu_indices(size, 1))
        return pairs[:, speakers[pairs[0]] != speakers[pairs[1]]]
    rng, found = np.random.default_rng([seed, 3]), np.zeros(0, int)
    while len(found) < most:
        drawn = np.sort(rng.integers(0, size, (2, 2 * most)), axis=0)
        drawn = drawn[:, speakers[drawn[0]] != speakers[drawn[1]]]
        found = np.union1d(found, drawn[0] * size + drawn[1])
    found = np.sort(rng.choice(found, most, replace=False))
    return np.stack([found // size, found % size])


def read_trials(path: str | Path, utt_ids: Sequence[str]) -> Trials:
    """Read a list of trials.

    Parameters
    ----------
    path : str or Path
        ``trials.txt`` of :meth:`Trials.write`, with ``enrolments.txt`` beside it; or a list in VoxCeleb's form.
    utt_ids : sequence of str
        The ids of the available utterances. Paths in a list are looked up as they are, without suffix, and with hyphens
        for slashes, as in the ids of ``corpus/voxceleb``.

    Raises
    ------
    CorpusError
        A file is missing or empty, has a malformed line, an unknown id, a model twice or without utterances, or trials
        of one kind only.
    """
    path = Path(path)
    place = {utt_id: index for index, utt_id in enumerate(utt_ids)}
    lines = read_lines(path)
    first = lines[0][1]
    voxceleb = first[0] in ("0", "1") and first[-1] not in ("target", "nontarget")  # a speaker may be called 1
    known: dict[str, list[int]] = {}
    if not voxceleb:
        enrolment = path.with_name("enrolments.txt")
        for number, (name, *members) in read_lines(enrolment):
            if name in known or not members:
                problem = "a second time" if name in known else "without utterances"
                raise CorpusError(
                    f"Line {number} of {enrolment} names the model {name!r} {problem}. Write each model on one "
                    "line, as `model utterance utterance …`."
                )
            known[name] = [_find(utt_id, place, enrolment, number) for utt_id in members]
    names: dict[str, int] = {}
    models, tests, answers = [], [], []
    for number, line in lines:
        target, model, test = ("", "", "") if len(line) != 3 else line if voxceleb else (line[2], line[0], line[1])
        if target not in ({"0", "1"} if voxceleb else {"target", "nontarget"}):
            raise CorpusError(
                f"Line {number} of {path} is {' '.join(line)!r} instead of `model utterance target`, `… nontarget`, or "
                "in VoxCeleb's form `1 utterance utterance`, `0 …`."
            )
        if voxceleb and model not in known:
            known[model] = [_find(model, place, path, number)]
        if model not in known:
            missing = f"which is not in enrolments.txt beside it.{_nearest(model, known)}"
            raise CorpusError(f"Line {number} of {path} names the model {model!r}, {missing}")
        models.append(names.setdefault(model, len(names)))
        tests.append(_find(test, place, path, number))
        answers.append(target in ("1", "target"))
    targets = np.array(answers)
    if targets.all() or not targets.any():
        kind = "target" if targets.all() else "non-target"
        raise CorpusError(f"All {len(targets)} trials of {path} are {kind} trials. Error rates need both.")
    enrolments = [np.array(known[name]) for name in names]
    return Trials(list(names), enrolments, np.array(models), np.array(tests), targets)


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The number and the fields of every line of a list that is not blank.

    Raises
    ------
    CorpusError
        The list cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").split("\n")
        fields = [_fields(line.strip()) for line in text]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"The list {path} cannot be read: {error}. Pass the path of a list of trials.") from error
    lines = [(number, line) for number, line in enumerate(fields, start=1) if any(line)]
    if not lines:
        raise CorpusError(f"The list {path} is empty. Pass a list of trials.")
    return lines


def _fields(line: str) -> list[str]:
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    if line.partition(",")[0].strip() in ("0", "1"):
        return [field.strip() for field in next(csv.reader([line], skipinitialspace=True))]
    return line.split()


def _find(utt_id: str, place: dict[str, int], path: Path, number: int) -> int:
    stem = utt_id.rpartition(".")[0] or utt_id
    for form in (utt_id, stem, stem.replace("/", "-")):
        if form in place:
            return place[form]
    raise CorpusError(
        f"Line {number} of {path} names the utterance {utt_id!r}, which is not in the test set."
        f"{_nearest(utt_id, place)} Pass a list of this corpus, without the utterances of rejected.csv."
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, itertools.islice(known, 20000))
