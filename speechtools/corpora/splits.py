"""Splits that share no speaker and no noise type: training, validation, test, and the enhancer's data."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from operator import itemgetter

import numpy as np

from speechtools.core.errors import ConfigError, CorpusError, first_of
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.noise import NoiseTypes

logger = logging.getLogger(__name__)

#: Words that say nothing about what is heard: numbers beside them tell types apart.
_GENERIC = frozenset(
    "audio ch channel class clip file freesound noise nonspeech rec record sample sound take track type".split()
)


def noise_key(name: str) -> str:
    """What names of one noise type have in common: no case, numbers, separators, order or endings of words.

    Numbers are kept where no word but a generic one remains: ``n12`` and ``noise_12`` are types of their own.

    Examples
    --------
    >>> {noise_key(name) for name in ("baby_cry", "004 - Baby cry", "BabyCry_01", "crying-baby")}
    {'baby cry'}
    >>> noise_key("n12"), noise_key("noise_3")
    ('12 n', '3 noise')
    """
    boundary = r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])"  # of words and numbers
    spaced = re.sub(boundary, " ", unicodedata.normalize("NFKC", name))
    tokens = [_stem(token) for token in re.findall(r"[^\W_]+", spaced.casefold())]
    words = [token for token in tokens if not token.isdecimal()]
    telling = [word for word in words if word not in _GENERIC]
    if len("".join(telling)) >= 3:
        return " ".join(sorted(telling))
    return " ".join(sorted(tokens)) or name


def _stem(word: str) -> str:
    if len(word) > 5 and word.endswith("ing"):
        return word.removesuffix("ing")
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word


def same_types(types: NoiseTypes) -> NoiseTypes:
    """Join types whose names differ in their spelling alone, under the first of their names."""
    names: dict[str, str] = {}
    joined: NoiseTypes = {}
    for name, files in types.items():
        joined.setdefault(names.setdefault(noise_key(name), name), []).extend(files)
    return joined


def select_noises(
    types: NoiseTypes, patterns: dict[str, str | Sequence[str] | None] | Sequence[str], role: str
) -> NoiseTypes:
    """Select the types that match shell-style patterns. A mapping also groups and renames: ``{street: [n12, n13]}``.

    A pattern that matches no name exactly matches names of another spelling, as :func:`noise_key` compares them.

    A name without patterns (null) is left out, which removes an entry of a yaml from the command line.

    Raises
    ------
    ConfigError
        A pattern matches no type.
    """

    def matching(pattern: str) -> list[str]:
        names = [name for name in types if fnmatchcase(name, pattern)]
        names = names or [name for name in types if fnmatchcase(name.casefold(), pattern.casefold())]
        names = names or [name for name in types if noise_key(name) == noise_key(pattern)]
        if not names:
            raise ConfigError(
                f"{role}: no noise type matches {pattern!r}. Correct it; the types are {first_of(list(types))}."
            )
        return names

    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, dict):  # a list keeps the types' own names
        patterns = {name: name for pattern in patterns for name in matching(pattern)}
    selection: NoiseTypes = {}
    for name, group in patterns.items():
        for pattern in [group] if isinstance(group, str) else group or []:
            for noise_type in matching(pattern):
                selection.setdefault(name, []).extend(types[noise_type])
    return selection


def split_noises(
    types: NoiseTypes,
    test: dict[str, str | Sequence[str] | None] | Sequence[str],
    valid: Sequence[str] | int,
    num_train: int | None,
    seed: int,
    test_types: NoiseTypes | None = None,
    enhancer: Sequence[str] | int = 0,
) -> dict[str, NoiseTypes]:
    """Split noise types into training, validation, test and the enhancer's; no file is in two of them.

    Parameters
    ----------
    types : dict
        All types of the noise folder.
    test : dict or list
        Patterns of the test types, looked up in ``test_types`` (a folder of their own), or else in ``types``.
    valid : list or int
        Patterns of the validation types, or how many to draw.
    num_train : int or None
        How many recordings to train on, of types drawn from the rest; None takes all.
    seed : int
        Seed of the draws.
    enhancer : list or int
        Patterns of the types that the enhancer is trained with, or how many to draw; 0 for none.

    Raises
    ------
    ConfigError
        A pattern matches nothing, there are too few types, or a type would be in two splits.
    """
    types = same_types(types)
    source = types if test_types is None else same_types(test_types)
    splits = {"test": select_noises(source, test, "test_noises")}
    # By name too: the test's folder and that of training may both have the type.
    used_names = _names(splits["test"], source)
    rest = {name: files for name, files in types.items() if noise_key(name) not in used_names}
    names = [str(name) for name in np.random.default_rng([seed, 1]).permutation(list(rest))]
    # Lists first: what they name is not drawn for the other.
    requests = sorted((("valid", valid), ("enhancer", enhancer)), key=lambda request: isinstance(request[1], int))
    for split, request in requests:
        if split == "enhancer" and not request:
            continue
        if isinstance(request, int):
            if not 0 < request < len(names):
                raise ConfigError(
                    f"{split}_noises={request}: {len(names)} noise types remain beside those of the other sets, and "
                    "training needs at least one. Use more noises or a smaller number."
                )
            # Drawn from the end, so that the training types are the same whatever the number for validation.
            splits[split] = {name: rest[name] for name in sorted(names[-request:])}
        else:
            splits[split] = select_noises(types, request, f"{split}_noises")
            both = used_names & _names(splits[split], types)
            if both:
                name = min(name for name in splits[split] if _names({name: splits[split][name]}, types) & both)
                others = "valid_noises or test_noises" if split == "enhancer" else "test_noises"
                raise ConfigError(f"{split}_noises and {others} share {name!r}. Use different types.")
        used_names |= _names(splits[split], types)
        names = [name for name in names if noise_key(name) not in used_names]
    if not names:
        raise ConfigError("No noise type is left for training. Use more noises, or fewer to validation and test.")
    recordings = [(name, path) for name in names for path in rest[name]]
    if num_train is not None and not 0 < num_train <= len(recordings):
        raise ConfigError(
            f"num_train_noises={num_train}, but {len(recordings)} noise recordings remain beside the types of "
            "validation and test. Use more noises or a smaller number."
        )
    splits["train"] = {}
    for name, path in sorted(recordings[:num_train], key=itemgetter(0)):
        splits["train"].setdefault(name, []).append(path)
    return splits


def _names(selection: NoiseTypes, types: NoiseTypes) -> set[str]:
    """Keys of the names of the chosen types, and of those that their files have in the folder."""
    files = {path for group in selection.values() for path in group}
    names = set(selection) | {name for name, group in types.items() if files & set(group)}
    return {noise_key(name) for name in names}


def split_speakers(
    utterances: Iterable[Utterance],
    heldout_share: float,
    valid_share: float,
    seed: int,
    valid_from: str = "test",
    needs_test: bool = True,
) -> dict[str, list[Utterance]]:
    """Split utterances into training, validation and test; no speaker is in two of them.

    A corpus's own division is kept; an empty split counts as ``train``. Where it has no test speakers,
    ``heldout_share`` of all speakers is drawn for validation and test; where it has no validation speakers,
    ``valid_share`` of the test speakers is drawn for them, or of the training speakers, but at least 2, with
    ``valid_from="train"``. A test without speakers is allowed with ``needs_test=False``.

    Raises
    ------
    CorpusError
        A speaker is in two splits of the corpus, or a split would be empty.
    """
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    split_of = {}
    for speaker, own_utterances in by_speaker.items():
        splits = {utterance.split or "train" for utterance in own_utterances}
        if len(splits) > 1:
            raise CorpusError(
                f"Speaker {speaker!r} is in several splits of the corpus ({', '.join(sorted(splits))}), so the test "
                "would not be on new speakers. Put all utterances of a speaker into one split, or leave the splits "
                "empty: then heldout_share and valid_share draw speakers."
            )
        split_of[speaker] = splits.pop()
    for split, option in (("test", "heldout_share"), ("valid", "valid_share")):
        if split in split_of.values():
            logger.info("The corpus has its own %s speakers, so %s has no effect.", split, option)
    rng = np.random.default_rng([seed, 2])
    if "test" not in split_of.values():
        free = sorted(speaker for speaker, split in split_of.items() if split != "valid")
        for speaker in rng.permutation(free)[: round(heldout_share * len(free))]:
            split_of[str(speaker)] = "test"
    if "valid" not in split_of.values():
        pool = sorted(speaker for speaker, split in split_of.items() if (split or "train") == valid_from)
        fewest = 2 if valid_from == "train" else 0
        for speaker in rng.permutation(pool)[: max(fewest, round(valid_share * len(pool)))]:
            split_of[str(speaker)] = "valid"
    groups: dict[str, list[Utterance]] = {"train": [], "valid": [], "test": []}
    for speaker, own_utterances in by_speaker.items():
        groups[split_of[speaker] or "train"] += own_utterances
    for split, members in groups.items():
        if not members and (needs_test or split != "test"):
            raise CorpusError(
                f"The corpus has {len(by_speaker)} speakers, which leaves none for {split}. Use a corpus of more "
                "speakers, or raise heldout_share."
            )
        members.sort(key=lambda utterance: utterance.utt_id)
    return groups


def can_only_train(utterances: Sequence[Utterance], num_corpora: int) -> bool:
    """Whether a corpus beside others has one speaker, so that all of it is for training; if so, it is logged."""
    alone = num_corpora > 1 and len({utterance.speaker for utterance in utterances}) == 1
    if alone:
        logger.info("%s... are of one speaker, or do not tell speakers apart: training only", utterances[0].utt_id)
    return alone


def set_aside(groups: dict[str, list[Utterance]], share: float, seed: int) -> dict[str, list[Utterance]]:
    """Move a share of the test speakers of :func:`split_speakers` to one more group, ``enhancer``.

    Raises
    ------
    ConfigError
        The share leaves no test speaker or no speaker for the enhancer.
    """
    if share == 0:
        return groups
    speakers = sorted({utterance.speaker for utterance in groups["test"]})
    count = round(share * len(speakers))
    if not 0 < count < len(speakers):
        raise ConfigError(
            f"enhancer_share={share} of the {len(speakers)} test speakers is {count} of them, but the enhancer and the "
            "test need at least one each. Use another share, or a corpus of more test speakers."
        )
    enhancer_speakers = {str(name) for name in np.random.default_rng([seed, 7]).permutation(speakers)[:count]}
    return groups | {
        "test": [utterance for utterance in groups["test"] if utterance.speaker not in enhancer_speakers],
        "enhancer": [utterance for utterance in groups["test"] if utterance.speaker in enhancer_speakers],
    }
