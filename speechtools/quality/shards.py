"""Tar shards of labelled recordings, which replace the prepared training set."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from speechtools import audio
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError, CorpusError, first_of
from speechtools.core.files import fingerprint
from speechtools.core.rows import row_of
from speechtools.core.shards import Sample, Shard, index_shards, list_shards
from speechtools.corpora.row_checks import check_score
from speechtools.measures import find_measure
from speechtools.quality.further import check_measures
from speechtools.quality.rows import QualityRow

logger = logging.getLogger(__name__)


class TrainingShards:
    """The shards of a training; without a pattern, there are none.

    Parameters
    ----------
    patterns : str or sequence of str
        Paths and URLs, as :func:`speechtools.core.shards.list_shards` takes them.
    shuffle_buffer : int
        Number of samples that are shuffled together.
    scale : str
        Measure of the scores.
    folder : str or Path
        Where the rows of the shards are kept.

    Raises
    ------
    ConfigError
        ``shuffle_buffer`` is not positive.
    """

    def __init__(
        self,
        patterns: str | Sequence[str] = "",
        shuffle_buffer: int = 2000,
        scale: str = "raw_nb",
        folder: str | Path = "prepared",
    ):
        check_number("shuffle_buffer", shuffle_buffer, 1, whole=True)
        self.patterns, self.shuffle_buffer, self.scale = patterns, shuffle_buffer, scale
        self.folder = Path(folder) / "shards"
        self.shards: list[Shard[QualityRow]] = []

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def rows(self) -> list[QualityRow]:
        """The rows of all shards."""
        return [row for shard in self.shards for row in shard.rows.values()]

    @property
    def identity(self) -> str:
        """A name that changes with the samples and their scores; empty without shards."""
        if not self.shards:
            return ""
        return f"shards-{fingerprint({'rows': [[row.ID, row.score] for row in self.rows]})}"

    def check(self, network: nn.Module) -> None:
        """Check that a network learns from a stream.

        Raises
        ------
        ConfigError
            It learns features first, from recordings of the whole training set.
        """
        if self and hasattr(network, "fit_features"):
            raise ConfigError(
                "train_shards: this network first learns features from the whole training set, which shards do not "
                "have at once. Leave the shards out, or choose another network."
            )

    def index(self) -> None:
        """List the rows of the shards.

        Raises
        ------
        ConfigError
            A pattern matches no file, or a score is of another measure.
        CorpusError
            A shard is missing or damaged, or a sample has no recording, or a row with wrong values.
        SpeechtoolsError
            The package ``webdataset`` is not installed.
        """
        if not self:
            return
        self.shards = index_shards(list_shards(self.patterns), QualityRow, make_row, self.folder)
        measure, find = find_measure(self.scale).name, functools.cache(find_measure)
        for shard in self.shards:
            for row in shard.rows.values():
                place = f"{shard.url}, sample {row.ID}"
                for problem in (*check_score(row.score, row.measure), *check_measures(row.measures)):
                    raise CorpusError(f"{place}: {problem}")
                if find(row.measure).name != measure:
                    raise ConfigError(
                        f"{place}: its score is of {row.measure}, and scale={self.scale}. Add "
                        f"--scale={row.measure}, or use shards with scores of that measure."
                    )

    def compare(self, test: Sequence[QualityRow]) -> None:
        """Warn if speakers of the test are in the shards."""
        speakers = {row.speaker for row in test}
        common = sorted(speakers & {row.speaker for row in self.rows})
        if common:
            logger.warning(
                "%d of the test's %d speakers are also in the shards: %s. The test does not show how the model does on "
                "new speakers. Write the shards from sets of the same corpus and data_seed.",
                len(common),
                len(speakers),
                first_of(common),
            )

    def keep(self, rows: Sequence[QualityRow]) -> None:
        """Leave out all samples but those of some of the rows."""
        kept = set(map(id, rows))
        for number, shard in enumerate(self.shards):
            left = {place: row for place, row in shard.rows.items() if id(row) in kept}
            self.shards[number] = Shard(shard.url, left, shard.index)


def make_row(sample: Sample) -> QualityRow:
    """Make the row of a sample, whose JSON object has at least ``score`` and ``measure``.

    Raises
    ------
    CorpusError
        A value is missing or wrong, or the recording is damaged.
    """
    values = {"ID": sample.key, "speech": sample.key, "speaker": "unknown", "subset": "corpus"} | sample.values
    if "duration" not in values:
        try:
            values["duration"] = audio.duration(sample.recording)
        except AudioError as error:
            raise CorpusError(f"{sample.place}: {error}") from error
    row, problems = row_of(QualityRow, values | {"path": sample.name})
    if row is None:
        raise CorpusError(
            f"{sample.place}: {problems[0]} Correct the .json of the sample, which needs a score and its measure, and "
            "write the shard again."
        )
    return row
