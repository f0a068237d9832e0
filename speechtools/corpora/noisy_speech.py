"""Who is in which split: the speakers of a corpus and the types of its noises, for quality and for enhancement.

Training, validation and test share no speaker and no noise type. A part of the test speakers and some noise types can
be set aside for the model that enhances speech (Quality-Net paper, section 3.1), which then shares none with the
others either. Whoever divides with the same options gets the same division.
"""

import dataclasses
import functools
import json
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.audio.noises import TEST_NOISES
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.files import fingerprint, write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.corpora.builtin import builtin_noises
from speechtools.corpora.reading import each_corpus, with_corpus
from speechtools.corpora.utterance import Utterance
from speechtools.degradations import mixing
from speechtools.measures import pesq as pesq_labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedSets:
    """Where the manifests lie, what the figures printed from them must say of their origin, and what they are made by.

    See :meth:`NoisySpeech.sets`.
    """

    folder: Path
    manifests: dict[str, Path]
    origin: str
    options: dict = field(default_factory=dict)

    def complete(self) -> bool:
        """Whether all manifests are there; says so, or that they are being prepared."""
        if all(path.exists() for path in self.manifests.values()):
            logger.info("The sets in %s are complete and used as they are: %s", self.folder, self.origin)
            return True
        logger.info("Preparing the sets in %s: %s", self.folder, self.origin)
        return False

    def write_about(self) -> None:
        """Write ``about.json``: the origin and the options."""
        with write_aside(self.folder / "about.json") as aside:
            aside.write_text(json.dumps({"origin": self.origin, **self.options}, indent=1, default=str))


@dataclass(frozen=True)
class NoisySpeech:
    """A corpus and noises, and how they are divided. Folders become absolute paths.

    Parameters
    ----------
    corpus, data_folder
        Name of a corpus reader and the folder it reads; or lists of one length, to join several corpora.
    corpus_options
        Further arguments of readers, by their names: ``{builtin: {num_train_speakers: 60}}``.
    min_range_db
        Leave out utterances whose frame levels (25 ms) span less than this from their 5th to their 95th percentile:
        recordings with audible background cannot serve as clean references. 0 takes all.
    heldout_share, valid_share
        Of the speakers, where the corpus has no test speakers; of the test speakers, where it has none for validation.
    enhancer_share
        Of the speakers then left for the test, set aside for the enhancer; 0: none.
    noise_folder
        Noises of training and validation: a folder or several; empty means the built-in, generated ones, and a list
        may also hold ``builtin``, to train on them besides recordings.
    test_noise_folder
        Noises of the test; empty means: those of ``noise_folder`` where they match ``test_noises``, else the built-in.
    num_train_noises
        How many recordings to train on; None takes all that the others leave.
    valid_noises, enhancer_noises
        Types of the validation and of the enhancer: a number to draw, or a list of patterns.
    test_noises
        Patterns of the test types, as :func:`speechtools.degradations.mixing.select_noises` takes them.
    sample_rate
        In Hz.
    seed
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
        for name in ("data_folder", "noise_folder", "test_noise_folder"):
            # A relative path means another folder when the run is started from elsewhere.
            object.__setattr__(self, name, _absolute(getattr(self, name)))

    @property
    def corpora(self) -> list[str]:
        """The names of the readers, of one corpus too."""
        return [self.corpus] if isinstance(self.corpus, str) else list(self.corpus)

    def options(self) -> dict:
        """All options, as :func:`speechtools.core.files.fingerprint` takes them."""
        return dataclasses.asdict(self)

    def sets(
        self, kind: str, save_folder: str | Path, splits: Iterable[str], options: dict, noises: dict, version: int
    ) -> PreparedSets:
        """Where sets with these ``options`` belong: in ``save_folder``, in a folder named after all options.

        ``kind`` begins its name; ``noises`` are those of :meth:`noises`. Another ``version`` is another folder.
        """
        options = options | self.options()
        folder = Path(save_folder).absolute() / f"{kind}-{fingerprint(options | {'version': version})}"
        return PreparedSets(
            folder, {split: folder / f"{split}.csv" for split in splits}, self.describe(noises), options
        )

    def speech(self, num_workers: int | None = None) -> dict[str, list[Utterance]]:
        """Utterances of ``train``, ``valid``, ``test`` and, where there is a share for it, ``enhancer``.

        Raises
        ------
        CorpusError, ConfigError
            As the readers and :mod:`speechtools.degradations.mixing` raise them.
        """
        folders = [self.data_folder] if isinstance(self.data_folder, str | Path) else list(self.data_folder)
        groups: dict[str, list[Utterance]] = {}
        for utterances in each_corpus(self.corpora, folders, self.corpus_options):
            usable = [u for u in utterances if pesq_labels.MIN_SECONDS <= u.duration <= pesq_labels.MAX_SECONDS]
            if self.min_range_db > 0:
                usable = self._quiet_background(usable, num_workers)
            divided = mixing.split_speakers(usable, self.heldout_share, self.valid_share, self.seed)
            divided = mixing.set_aside(divided, self.enhancer_share, self.seed)
            for split, members in divided.items():
                groups.setdefault(split, []).extend(members)
        return groups

    def _quiet_background(self, utterances: list[Utterance], num_workers: int | None) -> list[Utterance]:
        work = functools.partial(_range_of, sample_rate=self.sample_rate)
        ranges = list(map_in_processes(work, utterances, num_workers, "measuring levels", chunksize=32))
        kept = [u for u, range_db in zip(utterances, ranges, strict=True) if range_db >= self.min_range_db]
        logger.info(
            "%d of %d utterances have a level range of at least %g dB", len(kept), len(utterances), self.min_range_db
        )
        if not kept:
            raise ConfigError(
                f"No utterance has a level range of {self.min_range_db:g} dB; the largest is {max(ranges):.1f} dB."
            )
        return kept

    def noises(self) -> dict[str, mixing.NoiseTypes]:
        """Noise types of ``train``, ``valid``, ``test`` and, where it has any, ``enhancer``.

        Raises
        ------
        CorpusError, ConfigError
            As :mod:`speechtools.degradations.mixing` raises them.
        """
        folders = [self.noise_folder] if isinstance(self.noise_folder, str | Path) else self.noise_folder
        recorded = [folder for folder in folders if folder not in ("", "builtin")]
        types = mixing.read_noise_types(recorded) if recorded else {}
        generated = mixing.read_noise_types(builtin_noises())
        if not recorded:
            types = generated
        elif len(recorded) < len(folders):
            for name, files in generated.items():
                if name not in TEST_NOISES:  # beside recordings they have no place: they would be trained on
                    types.setdefault(name, []).extend(files)
            types = dict(sorted(types.items()))
        test, test_types = self.test_noises, types
        if self.test_noise_folder:
            test_types = mixing.read_noise_types(self.test_noise_folder)
        elif recorded and set(test) == set(TEST_NOISES) and not set(TEST_NOISES) & set(types):
            asked = [test[name] for name in TEST_NOISES] if isinstance(test, dict) else list(TEST_NOISES)
            if asked == list(TEST_NOISES):
                test_types = generated
                logger.warning(
                    "%s has none of the test noises %s: the test uses the generated ones. Set test_noise_folder or "
                    "test_noises to use recordings.",
                    recorded,
                    ", ".join(TEST_NOISES),
                )
        return mixing.split_noises(
            types, test, self.valid_noises, self.num_train_noises, self.seed, test_types, self.enhancer_noises
        )

    def heard(self, rows: Iterable[dict]) -> dict[str, list[str]]:
        """The ``speakers`` and ``noises`` of rows of manifests, by names that are the same wherever the corpora lie.

        A model says by them what it was trained on, so that a test can be known to be new to it.
        """
        rows = list(rows)
        return {
            "speakers": sorted({with_corpus(row["speaker"], self.corpora) for row in rows}),
            "noises": sorted({"/".join(Path(row["noise"]).parts[-2:]) for row in rows if row["noise"]}),
        }

    def describe(self, noises: dict[str, mixing.NoiseTypes]) -> str:
        """Words that stand wherever figures of these sets are printed; synthetic speech and noise are called so."""
        speech = " + ".join("built-in synthetic speech" if name == "builtin" else name for name in self.corpora)
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


def _kind(types: mixing.NoiseTypes) -> str:
    own = builtin_noises()
    kinds = {"generated" if path.parent == own else "recorded" for files in types.values() for path in files}
    return " and ".join(sorted(kinds, reverse=True))


def _absolute(folders):
    """Paths as absolute text; "" and "builtin" stand for what is made, and a list stays one."""
    if isinstance(folders, (str, Path)):
        return str(folders) if str(folders) in ("", "builtin") else str(Path(folders).expanduser().absolute())
    return [_absolute(folder) for folder in folders]
