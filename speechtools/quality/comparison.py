"""Is B better than A? Paired differences of the scores of the same recordings."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from speechtools.core import metrics
from speechtools.core.errors import ConfigError, CorpusError, first_of, printable
from speechtools.core.spelling import did_you_mean
from speechtools.measures import Scale, is_measure
from speechtools.quality.score_tables import (
    ScoreTable,
    check_column,
    common_end,
    common_start,
    find_key,
    keyed_rows,
    pair_paths,
    path_parts,
    read_cells,
)

#: Group of the recordings for which a group is not named.
NO_GROUP = "(none)"
#: Intervals of fewer recordings are too narrow; see :func:`speechtools.core.metrics.mean_interval`.
FEW = 10


@dataclasses.dataclass(frozen=True)
class PairedScores:
    """The scores of a recording in both tables.

    Attributes
    ----------
    name : str
        The end that both paths have in common.
    file_a, file_b : str
        The paths in the tables.
    a, b : float
        The scores.
    group : str
        Empty if there are no groups.
    """

    name: str
    file_a: str
    file_b: str
    a: float
    b: float
    group: str = ""

    @property
    def difference(self) -> float:
        """The score of B minus that of A."""
        return self.b - self.a


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A recording that is not compared: the table that names it, and why."""

    file: str
    table: Literal["A", "B"]
    reason: Literal["only in", "ambiguous name in", "no score in"]
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How the scores of B differ from those of A over some recordings.

    Attributes
    ----------
    group : str
        ``all`` for all recordings.
    files : int
        Number of pairs.
    mean_a, mean_b, difference : float
        The mean scores, and the mean of B − A.
    interval : tuple of float, optional
        Confidence interval of the difference; None for one pair.
    share_better, share_worse : float
        Share of the recordings where B is better, and worse, in [0, 1]; the others have equal scores.
    higher_is_better : bool
        The direction of the scores.
    """

    group: str
    files: int
    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float] | None
    share_better: float
    share_worse: float
    higher_is_better: bool

    @property
    def decimals(self) -> int:
        """Decimals that show the interval with two digits."""
        width = self.interval[1] - self.interval[0] if self.interval else 0.0
        return min(max(2, 1 - math.floor(math.log10(width))), 6) if width > 1e-9 else 2

    @property
    def verdict(self) -> str:
        """One sentence: whether B is better, and by how much.

        Examples
        --------
        >>> better = Difference("all", 40, 2.31, 2.52, 0.21, (0.15, 0.27), 0.8, 0.2, True)
        >>> better.verdict
        'B is better by 0.21 (0.15 to 0.27).'
        >>> dataclasses.replace(better, higher_is_better=False).verdict
        'B is worse by 0.21 (0.15 to 0.27).'
        >>> dataclasses.replace(better, difference=0.02, interval=(-0.03, 0.07)).verdict
        'No difference can be seen: B - A is 0.02 (-0.03 to 0.07).'
        """
        digits = self.decimals
        if self.interval is None:
            return f"One recording is too few for a verdict: B - A is {self.difference:.{digits}f}."
        low, high = self.interval
        is_better = (self.difference > 0) == self.higher_is_better
        word = "better" if is_better else "worse"
        if high - low <= 1e-9:  # not even resampling changes the mean
            if abs(self.difference) <= 1e-9:
                return "There is no difference: every recording has the same score in A and B."
            return f"B is {word} by {abs(self.difference):.{max(digits, 3)}g} in every recording."
        if low <= 0 <= high:
            span = f"({low:.{digits}f} to {high:.{digits}f})"
            return f"No difference can be seen: B - A is {self.difference:.{digits}f} {span}."
        near, far = sorted((abs(low), abs(high)))
        return f"B is {word} by {abs(self.difference):.{digits}f} ({near:.{digits}f} to {far:.{digits}f})."


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    name_a, name_b : str
        The tables.
    column : str
        The column of the scores.
    scale : str, optional
        The measure of the scores, if the tables name it.
    total : Difference
        Over all pairs.
    groups : list of Difference
        One for each group, by name.
    pairs : list of PairedScores
        The recordings that are compared, by name.
    left_out : list of LeftOut
        The recordings that are not.
    level : float
        Of the confidence intervals.
    """

    name_a: str
    name_b: str
    column: str
    scale: str | None
    total: Difference
    groups: list[Difference]
    pairs: list[PairedScores]
    left_out: list[LeftOut]
    level: float

    @property
    def verdict(self) -> str:
        """One sentence: whether B is better, and by how much."""
        return self.total.verdict

    def plot(self, path: str | Path) -> Path:
        """Draw the paired differences by group, with means and intervals, as a PNG file."""
        from speechtools.quality.plots import paired_differences

        return paired_differences(path, self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as values that JSON can represent."""
        pairs = [{**dataclasses.asdict(pair), "difference": pair.difference} for pair in self.pairs]
        return {"verdict": self.verdict, **dataclasses.asdict(self), "pairs": pairs}


def compare(
    a: str | Path | Mapping[str, float],
    b: str | Path | Mapping[str, float],
    *,
    column: str = "score",
    key: str | None = None,
    group: str | None = None,
    groups: str | Path | None = None,
    higher_is_better: bool | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare the scores of the same recordings in two tables.

    Parameters
    ----------
    a, b : str, Path or dict
        Tables as :meth:`ScoreTable.read` takes them, or scores by path or name. Recordings are paired by
        :func:`pair_paths`.
    column, key : str
        The columns of the scores, and of the paths.
    group : str, optional
        Compare groups of recordings, too: a column of the tables, or of ``groups`` if it is passed (there,
        ``group`` by default); or ``folder``, the parent folder, unless there is such a column.
    groups : str or Path, optional
        A table with the groups of the recordings.
    higher_is_better : bool, optional
        The direction of the scores. By default, that of the measure that the tables name, or True.
    level, resamples, seed
        Of the intervals; see :func:`speechtools.core.metrics.mean_interval`.

    Returns
    -------
    Comparison

    Raises
    ------
    CorpusError
        A table cannot be read, or no recording has a score in both.
    ConfigError
        There is no such column, or the tables have different scales.

    Warns
    -----
    UserWarning
        The tables name different models: the difference may be that of the models.

    Examples
    --------
    >>> noisy = {"x.wav": 1.5, "y.wav": 2.0, "z.wav": 2.5}
    >>> enhanced = {"x.wav": 2.0, "y.wav": 2.1, "z.wav": 2.9}
    >>> compare(noisy, enhanced).verdict
    'B is better by 0.33 (0.10 to 0.50).'
    """
    tables = [
        ScoreTable.of(name, table) if isinstance(table, Mapping) else ScoreTable.read(table, column, key)
        for name, table in (("A", a), ("B", b))
    ]
    scale = _common_scale(tables, column)
    if higher_is_better is None:
        measure = Scale.of(scale) if scale else None
        higher_is_better = measure is None or measure.higher_is_better
    pairs, left_out = _pair(*tables)
    if not pairs:
        described = [f"{table.name} ({_examples(table.paths)})" for table in tables]
        raise CorpusError(
            f"No recording has a score in both {' and '.join(described)}. Pass tables of the same recordings."
        )
    if group is not None or groups is not None:
        pairs = _grouped(pairs, tables, group, groups, key)
    options = level, resamples, seed
    names = sorted({pair.group for pair in pairs}) if group is not None or groups is not None else []
    return Comparison(
        tables[0].name,
        tables[1].name,
        column,
        scale,
        _difference("all", pairs, higher_is_better, *options),
        [_difference(name, [p for p in pairs if p.group == name], higher_is_better, *options) for name in names],
        pairs,
        left_out,
        level,
    )


def _examples(paths: Sequence[str]) -> str:
    return f"{len(paths)} rows, such as {printable(paths[0])}" if paths else "no rows"


def _common_scale(tables: Sequence[ScoreTable], column: str) -> str | None:
    """The measure of the scores of all tables, if it is known."""
    if column != "score":
        return column if is_measure(column) else None
    if len({scale for table in tables for scale in table.scales}) > 1:
        described = " and ".join(
            f"{table.name} is on {', '.join(table.scales) or 'an unknown one'}" for table in tables
        )
        raise ConfigError(f"The scales differ: {described}. Score the recordings on one scale.")
    models = [table.values("model") for table in tables]
    if all(models) and models[0] != models[1]:
        names = [f"{table.name} by {', '.join(model)}" for table, model in zip(tables, models, strict=True)]
        message = f"the models differ: {' and '.join(names)} were scored, so they may make the difference"
        warnings.warn(message, stacklevel=3)
    return next((scale for table in tables for scale in table.scales), None)


def _pair(a: ScoreTable, b: ScoreTable) -> tuple[list[PairedScores], list[LeftOut]]:
    """Pair the recordings with a score in both tables, by name, and say why the others are left out."""
    files, ambiguous = pair_paths(a.paths, b.paths)
    pairs, left_out = [], []
    for file_a, file_b in files.items():
        if file_a in a.scores and file_b in b.scores:
            pairs.append(PairedScores(common_end(file_a, file_b), file_a, file_b, a.scores[file_a], b.scores[file_b]))
        elif file_a in a.errors:
            left_out.append(LeftOut(file_a, "A", "no score in", a.errors[file_a]))
        else:
            left_out.append(LeftOut(file_b, "B", "no score in", b.errors[file_b]))
    paired = set(files.values())
    rests: tuple[tuple[Literal["A", "B"], list[str]], ...] = (
        ("A", [file for file in a.paths if file not in files]),
        ("B", [file for file in b.paths if file not in paired]),
    )
    for table, rest in rests:
        left_out += [LeftOut(file, table, "ambiguous name in" if file in ambiguous else "only in") for file in rest]
    return sorted(pairs, key=lambda pair: (pair.name, pair.file_a)), left_out


def _grouped(
    pairs: list[PairedScores],
    tables: Sequence[ScoreTable],
    group: str | None,
    groups: str | Path | None,
    key: str | None,
) -> list[PairedScores]:
    """The pairs with their groups."""
    if groups is not None:
        names = _read_groups(groups, [pair.file_a for pair in pairs], group or "group", key)
    elif any(group in table.columns for table in tables):
        names = _column_groups(pairs, tables, str(group))
    elif group == "folder":
        folders = [path_parts(pair.name)[:-1] for pair in pairs]
        start = len(common_start(folders))
        names = ["/".join(folder[start:]) or "." for folder in folders]
    else:
        columns = list(dict.fromkeys(column for table in tables for column in table.columns))
        raise ConfigError(
            f"Neither {tables[0].name} nor {tables[1].name} has a column {group!r}.{did_you_mean(group, columns)} "
            f"Choose one with --group: {', '.join(map(printable, columns))}; or folder, the parent folder."
        )
    return [dataclasses.replace(pair, group=name or NO_GROUP) for pair, name in zip(pairs, names, strict=True)]


def _column_groups(pairs: Iterable[PairedScores], tables: Sequence[ScoreTable], column: str) -> list[str]:
    names = []
    for pair in pairs:
        cells = [table.cells.get(file, {}).get(column, "") for table, file in zip(tables, (pair.file_a, pair.file_b))]  # noqa: B905
        if all(cells) and cells[0] != cells[1]:
            raise ConfigError(
                f"{printable(pair.name)} has {column}={cells[0]!r} in {tables[0].name} and {cells[1]!r} in "
                f"{tables[1].name}. Choose a column that both agree on, or pass --groups."
            )
        names.append(cells[0] or cells[1])
    return names


def _read_groups(path: str | Path, files: list[str], column: str, key: str | None) -> list[str]:
    """The groups of some recordings from a table; empty for those that it does not name."""
    columns, rows = read_cells(path)
    key = find_key(path, columns, key if key in columns else None)
    check_column(path, columns, column, "--group")
    by_file = {file: row.get(column, "").strip() for _, file, row in keyed_rows(path, rows, key)}
    named, _ = pair_paths(files, by_file)
    if not named:
        examples = f"{printable(files[0])} here, {printable(first_of([*by_file][:1]))} there"
        raise CorpusError(f"{path} names none of the {len(files)} recordings: {examples}. Correct its column {key}.")
    return [by_file[named[file]] if file in named else "" for file in files]


def _difference(
    group: str, pairs: Sequence[PairedScores], higher_is_better: bool, level: float, resamples: int, seed: int
) -> Difference:
    differences = np.array([pair.difference for pair in pairs])  # (pairs,)
    gains = differences if higher_is_better else -differences
    return Difference(
        group=group,
        files=len(pairs),
        mean_a=float(np.mean([pair.a for pair in pairs])),
        mean_b=float(np.mean([pair.b for pair in pairs])),
        difference=float(differences.mean()),
        interval=metrics.mean_interval(differences, level, resamples, seed) if len(pairs) > 1 else None,
        share_better=float(np.mean(gains > 0)),
        share_worse=float(np.mean(gains < 0)),
        higher_is_better=higher_is_better,
    )
