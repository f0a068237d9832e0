"""The division of a corpus and of noises into splits, for quality and for enhancement.

Training, validation and test share no speaker and no noise type. Some of the test speakers and some noise types can be
set aside for the model that enhances speech (Quality-Net paper, section 3.1), which then shares none with the others
either. The same options always give the same division.
"""

import dataclasses
import functools
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechtools import audio
from speechtools.audio.noises import TEST_NOISES
from speechtools.core.checks import check_number, naming
from speechtools.core.checksums import refuse_damaged, write_checksums
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.files import fingerprint
from speechtools.core.jobs import map_in_processes
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.results import write_json
from speechtools.corpora.builtin import builtin_noises
from speechtools.corpora.reading import absolute_folder, check_corpora, describe_speech, each_corpus, with_corpus
from speechtools.corpora.splits import can_only_train, noise_key, set_aside, split_noises, split_speakers
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.noise import NoiseTypes, read_noise_types
from speechtools.measures import pesq as pesq_labels

logger = logging.getLogger(__name__)

_TEST_PATTERNS = dict(zip(TEST_NOISES, TEST_NOISES, strict=True))


@dataclass(frozen=True)
class PreparedSets:
    """Manifests in a folder; see :meth:`NoisySpeech.sets`.

    Attributes
    ----------
    folder : Path
    manifests : dict of Path
        By split.
    origin : str
        What results on these sets must be labelled with.
    options : dict
        What the sets were made with.
    """

    folder: Path
    manifests: dict[str, Path]
    origin: str
    options: dict = field(default_factory=dict)

    def complete(self) -> bool:
        """Return and log whether all manifests exist.

        Raises
        ------
        CorpusError
            They do, but a quick check of the checksums finds that a file beside them has changed.
        """
        complete = all(path.exists() for path in self.manifests.values())
        logger.info("%s the sets in %s: %s", "Using" if complete else "Preparing", self.folder, self.origin)
        if complete:
            names = ", ".join(sorted({path.name for path in self.manifests.values()}))
            refuse_damaged(self.folder, f"Delete these files and {names}, and start again: they are made again.")
        return complete

    def write_about(self) -> None:
        """Write ``about.json``, the origin and the options, and the checksums of the audio files."""
        if files := sorted(self.folder.rglob("*.wav")):
            write_checksums(self.folder, files)
        write_json(self.folder / "about.json", {"origin": self.origin, **self.options})


@dataclass(frozen=True)
class NoisySpeech:
    """A corpus, noises, and their division. Folders become absolute paths.

    Parameters
    ----------
    corpus, data_folder : str or sequence
        Name of a corpus reader and the folder that it reads; or two lists of equal length, to join several corpora.
    corpus_options : dict
        Further arguments of readers, by their names: ``{builtin: {num_train_speakers: 60}}``.
    min_range_db : float
        Leave out utterances whose frame levels (25 ms) span less than this from their 5th to their 95th percentile:
        recordings with audible background cannot serve as clean references. 0 takes all.
    heldout_share, valid_share : float
        Share of the speakers for the test, if the corpus has no test speakers; share of the test speakers for
        validation, if it has none for that.
    enhancer_share : float
        Share of the remaining test speakers that is set aside for the enhancer.
    noise_folder : str, Path or sequence
        Noises of training and validation: one folder or several. Empty means the built-in, generated noises; a list
        may also contain ``builtin``, to train on them besides recordings.
    test_noise_folder : str, Path or sequence
        Noises of the test. Empty means those of ``noise_folder`` if they match ``test_noises``, else the built-in ones.
    num_train_noises : int, optional
        Number of recordings to train on; None takes all that the other splits leave.
    valid_noises, enhancer_noises : sequence of str or int
        Noise types of the validation and of the enhancer: patterns, or how many to draw.
    test_noises : dict or sequence of str
        Patterns of the test types, as :func:`speechtools.corpora.splits.select_noises` takes them.
    sample_rate : int
        In Hz.
    seed : int
        Of all draws.
    """

    corpus: str | Sequence[str] = "builtin"
    data_folder: str | Path | Sequence[str | Path] = ""
    corpus_options: dict[str, dict] = field(default_factory=dict)
    min_range_db: float = 0.0
    heldout_share: float = 0.25
    valid_share: float = 0.35
    enhancer_share: float = 0.0
    noise_folder: str | Path | Sequence[str | Path] = ""
    test_noise_folder: str | Path | Sequence[str | Path] = ""
    num_train_noises: int | None = 90
    valid_noises: Sequence[str] | int = 4
    enhancer_noises: Sequence[str] | int = 0
    test_noises: dict[str, str | Sequence[str] | None] | Sequence[str] = TEST_NOISES
    sample_rate: int = 16000
    seed: int = 0

    def __post_init__(self):
        for name in ("heldout_share", "valid_share", "enhancer_share"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("data_seed", self.seed, 0, whole=True)
        for name in ("data_folder", "noise_folder", "test_noise_folder"):
            # A relative path would mean another folder when the run is started from elsewhere.
            object.__setattr__(self, name, _absolute(getattr(self, name)))

    @property
    def corpora(self) -> list[str]:
        """The names of the readers, also for a single corpus."""
        return [self.corpus] if isinstance(self.corpus, str) else list(self.corpus)

    def check(self) -> None:
        """Check the names of the corpora, and that the folders of noises exist, before anything is read.

        Raises
        ------
        ConfigError, PluginError, CorpusError
            They are wrong; the message names the option.
        """
        folders = [self.data_folder] if isinstance(self.data_folder, str | Path) else self.data_folder
        check_corpora(self.corpora, folders, self.corpus_options)
        for option in ("noise_folder", "test_noise_folder"):
            value = getattr(self, option)
            for folder in [value] if isinstance(value, str | Path) else value:
                if str(folder) not in ("", "builtin"):
                    with naming(option):
                        audio.existing_folder(folder)

    def options(self) -> dict:
        """All options, for :func:`speechtools.core.files.fingerprint`."""
        return dataclasses.asdict(self)

    def sets(
        self, kind: str, save_folder: str | Path, splits: Iterable[str], options: dict, noises: dict, version: int
    ) -> PreparedSets:
        """Describe sets with these ``options``: their folder in ``save_folder`` is named after all options.

        ``kind`` begins its name. ``noises`` are those of :meth:`noises`, or {} for sets without. A new ``version`` has
        a new folder, and so has an edited reader of yours, or another edited plugin whose fingerprint is in ``plugins``
        of the options.
        """
        options = options | self.options()
        plugins = fingerprints_of_plugins(f"corpus/{name}" for name in self.corpora) | options.pop("plugins", {})
        if plugins:
            options["plugins"] = plugins
        folder = Path(save_folder).absolute() / f"{kind}-{fingerprint(options | {'version': version})}"
        manifests = {split: folder / f"{split}.csv" for split in splits}
        return PreparedSets(folder, manifests, self.describe(noises), options)

    def speech(self, num_workers: int | None = None) -> dict[str, list[Utterance]]:
        """Utterances of ``train``, ``valid``, ``test`` and, with ``enhancer_share``, ``enhancer``.

        Raises
        ------
        CorpusError, ConfigError
            From the readers and the division.
        """
        folders = [self.data_folder] if isinstance(self.data_folder, str | Path) else list(self.data_folder)
        groups: dict[str, list[Utterance]] = {}
        for utterances in each_corpus(self.corpora, folders, self.corpus_options):
            usable = [u for u in utterances if pesq_labels.MIN_SECONDS <= u.duration <= pesq_labels.MAX_SECONDS]
            if self.min_range_db > 0:
                usable = self._quiet_background(usable, num_workers)
            if can_only_train(usable, len(self.corpora)):
                divided = {"train": usable}
            else:
                divided = split_speakers(usable, self.heldout_share, self.valid_share, self.seed)
                divided = set_aside(divided, self.enhancer_share, self.seed)
            for split, members in divided.items():
                groups.setdefault(split, []).extend(members)
        return groups

    def _quiet_background(self, utterances: list[Utterance], num_workers: int | None) -> list[Utterance]:
        work = functools.partial(_range_of, sample_rate=self.sample_rate)
        ranges = list(map_in_processes(work, utterances, num_workers, "measuring levels", chunksize=32))
        least = self.min_range_db
        quiet = [u for u, range_db in zip(utterances, ranges, strict=True) if range_db >= least]
        logger.info("%d of %d utterances have a level range of at least %g dB", len(quiet), len(utterances), least)
        if not quiet:
            raise ConfigError(f"No utterance has a level range of {least:g} dB; the largest is {max(ranges):.1f} dB.")
        return quiet

    def noises(self) -> dict[str, NoiseTypes]:
        """Noise types of ``train``, ``valid``, ``test`` and, with ``enhancer_noises``, ``enhancer``.

        Raises
        ------
        CorpusError, ConfigError
            From reading and dividing the noises.
        """
        folders = [self.noise_folder] if isinstance(self.noise_folder, str | Path) else self.noise_folder
        recorded = [folder for folder in folders if folder not in ("", "builtin")]
        generated = read_noise_types(builtin_noises())
        types = read_noise_types(recorded) if recorded else generated
        if 0 < len(recorded) < len(folders):  # the generated test noises would be trained on
            more = {name: files for name, files in generated.items() if name not in TEST_NOISES}
            types = {name: types.get(name, []) + more.get(name, []) for name in sorted(types | more)}
        test, test_types = self.test_noises, types
        unchanged = (dict(test) if isinstance(test, dict) else dict(zip(test, test, strict=True))) == _TEST_PATTERNS
        if self.test_noise_folder:
            test_types = read_noise_types(self.test_noise_folder)
        elif recorded and unchanged:
            keys = {noise_key(name) for name in types}
            missing = [name for name in TEST_NOISES if noise_key(name) not in keys]
            names = {noise_key(name): name for name in TEST_NOISES}  # reports have the names of the test
            renamed = {names.get(noise_key(name), name): files for name, files in types.items()}
            test_types = renamed | {name: generated[name] for name in missing}
            if missing:
                logger.warning(
                    "%s has no %s, so the test uses generated ones. Set test_noise_folder or test_noises to use "
                    "recordings.",
                    recorded,
                    ", ".join(missing),
                )
        numbers = self.valid_noises, self.num_train_noises, self.seed
        return split_noises(types, test, *numbers, test_types=test_types, enhancer=self.enhancer_noises)

    def heard(self, rows: Sequence[Any]) -> dict[str, list[str]]:
        """The ``speakers`` and ``noises`` of manifest rows, by names that do not depend on where the corpora are.

        A model records them, so that a later test can tell whether it is new to the model.
        """
        return {
            "speakers": sorted({with_corpus(row.speaker, self.corpora) for row in rows}),
            "noises": sorted({"/".join(row.noise.parts[-2:]) for row in rows if row.noise}),
        }

    def describe(self, noises: dict[str, NoiseTypes]) -> str:
        """Describe the sets for results: the corpora, and whether speech and noises are recorded or generated."""
        speech = describe_speech(self.corpora)
        if not noises:
            return f"{speech}, labels of the corpus"
        kinds = {split: _kind(types) for split, types in noises.items()}
        if kinds["test"] == kinds["train"]:
            return f"{speech}, {kinds['test']} noises"
        return f"{speech}, {kinds['train']} noises, test noises {kinds['test']}"


def level_range_db(samples: np.ndarray, sample_rate: int) -> float:
    """95th minus 5th percentile of the levels (dB) of 25 ms frames: a rough measure of how quiet the background is."""
    size = round(0.025 * sample_rate)
    count = len(samples) // size
    if count == 0:
        return 0.0
    power = np.square(samples[: count * size].reshape(count, size), dtype=np.float64).mean(axis=1)
    # (frames,)
    levels = 10 * np.log10(power + 1e-10)
    return float(np.subtract(*np.percentile(levels, [95, 5])))


def _range_of(utterance: Utterance, sample_rate: int) -> float:
    try:
        return level_range_db(audio.read(utterance.path, sample_rate), sample_rate)
    except AudioError as error:
        warnings.warn(f"{utterance.utt_id} is left out: {error}", stacklevel=1)
        return float("-inf")


def _kind(types: NoiseTypes) -> str:
    generated = builtin_noises()
    kinds = {"generated" if path.parent == generated else "recorded" for files in types.values() for path in files}
    return " and ".join(sorted(kinds, reverse=True))


def _absolute(folders):
    """Make paths absolute; "" and "builtin" mean generated data, and a list stays a list."""
    if isinstance(folders, (str, Path)):
        return "builtin" if str(folders) == "builtin" else absolute_folder(folders)
    return [_absolute(folder) for folder in folders]
