"""Whether a manifest can be trained on: every row against its file, its scale and its neighbours.

A manifest is known by its columns: of noisy speech with PESQ (:mod:`speechtools.quality.data`), of mixtures for an
enhancer (:mod:`speechtools.enhancement.data`), of speech or keywords by speaker
(:mod:`speechtools.speaker.index`).
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.rows import read_header, read_rows
from speechtools.enhancement import data as enhancement_data
from speechtools.measures.pesq import SCALES
from speechtools.quality import data as quality_data
from speechtools.speaker import index as speaker_index

#: Durations are written with three digits or more.
_TOLERANCE_SECONDS = 1e-3
#: PESQ does not clip at the lower end of its scale; see :class:`speechtools.measures.pesq.Scale`.
_BELOW_SCALE = 0.1
#: How loud a noise can be against speech, and the reverse, before it is a slip of the pen.
_MAX_SNR_DB = 100


@dataclass(frozen=True)
class Kind:
    """A kind of manifest: its name, its columns, which of them tells rows apart, and those that may be empty."""

    name: str
    fields: tuple[str, ...]
    key: str
    may_be_empty: frozenset[str]
    check: Callable[[dict, "Context"], Iterator[str]]


@dataclass
class Context:
    """What the rows of one manifest share: its folder, what ``about.json`` beside it tells, and what was looked up."""

    folder: Path
    about: dict
    shards: dict[str, int | str]
    speakers: set[str]
    last_speaker: str = ""


def check_manifest(path: str | Path) -> tuple[str, int, list[str]]:
    """The kind of a manifest, the number of its rows, and what is wrong: a message for each bound that a row breaks.

    Raises
    ------
    CorpusError
        The file is missing, its columns are of no known kind, or it is torn.

    Example
    -------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "train.csv"
    >>> _ = path.write_text("utt_id,speaker,path,duration,shard,start,samples\\na,anna,a.wav,1.0,a.npy,-5,16000\\n")
    >>> kind, rows, messages = check_manifest(path)
    >>> print(kind, rows, messages[0])
    speaker 1 row 2 (a): start=-5 is below 0, and a file begins with sample 0.
    """
    path = Path(path)
    kind = _kind(path, read_header(path))
    rows = read_rows(path, kind.fields)
    context = Context(path.parent, _about(path.parent), {}, set())
    messages: list[str] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        place = f"row {number} ({row[kind.key]})"
        found = [f"{name} is empty." for name in kind.fields if not row[name].strip() and name not in kind.may_be_empty]
        try:
            found += [] if found else kind.check(row, context)
        except _NotANumber as error:
            found.append(str(error))
        if row[kind.key] and row[kind.key] in seen:
            found.append(f"{kind.key} is that of row {seen[row[kind.key]]} too, and must tell them apart.")
        seen.setdefault(row[kind.key], number)
        messages += [f"{place}: {message}" for message in found]
    if not rows:
        messages.append("there are no rows, so there is nothing to train on.")
    elif kind.name in ("speaker", "keyword") and len(context.speakers) < 2:
        messages.append("all rows are of one speaker, and nobody can be told from another.")
    return kind.name, len(rows), messages


def _kind(path: Path, header: list[str]) -> Kind:
    if not header:
        raise CorpusError(f"{path} is empty. Give a manifest, as a preparation writes it.")
    for kind in KINDS:
        if set(kind.fields) <= set(header):
            return kind
    near = max(KINDS, key=lambda kind: (len(set(kind.fields) & set(header)), -len(kind.fields)))
    missing = [name for name in near.fields if name not in header]
    raise CorpusError(
        f"{path} has the columns {', '.join(header)}, which no kind of manifest has "
        f"({', '.join(kind.name for kind in KINDS)}). It is nearest to {near.name}, and lacks {', '.join(missing)}. "
        "Mend the first row."
    )


def _about(folder: Path) -> dict:
    """Scale and sample rate, as the preparation wrote them; nothing where a manifest was made otherwise."""
    try:
        found = json.loads((folder / "about.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    kinds = {"scale": str, "sample_rate": int}
    return {key: found[key] for key, kind in kinds.items() if isinstance(found, dict) and type(found.get(key)) is kind}


# ------------------------------------------------------------------------------------------------------- one row


class _NotANumber(ValueError):
    """What cannot be compared with any bound."""


def _number(row: dict, name: str, kind: type = float) -> float:
    try:
        value = kind(row[name])
    except ValueError as error:
        what = "whole number" if kind is int else "number"
        raise _NotANumber(f"{name}={row[name]!r} is no {what}.") from error
    if isinstance(value, int) and abs(value) >= 2**63:
        raise _NotANumber(f"{name}={row[name][:20]}… is too large for any file.")
    if not math.isfinite(value):
        raise _NotANumber(f"{name}={row[name]} is not finite.")
    return value


def _between(row: dict, name: str, low: float, high: float, of: str) -> Iterator[str]:
    value = _number(row, name)
    if not low <= value <= high:
        yield f"{name}={row[name]} lies outside {low:g} to {high:g}, {of}."


def _file(row: dict, name: str) -> Iterator[str]:
    if row[name] and not Path(row[name]).is_file():
        yield f"{name}={row[name]} does not exist."


def _length(row: dict, name: str) -> Iterator[str]:
    """The file's length against the row's duration."""
    told = _number(row, "duration")
    if told <= 0:
        yield f"duration={row['duration']} must be above 0."
    try:
        seconds = audio.duration(row[name])
    except AudioError as error:
        yield str(error)
        return
    if told > 0 and abs(seconds - told) > _TOLERANCE_SECONDS:
        yield f"duration={row['duration']}, but {row[name]} holds {seconds:.3f} s."


def _pesq(row: dict, context: Context) -> Iterator[str]:
    told = SCALES.get(context.about.get("scale", ""))
    known = [told] if told else list(SCALES.values())
    # A label is rounded when it is written.
    value = _number(row, "pesq")
    if not any(each.minimum - _BELOW_SCALE <= value <= each.maximum + 1e-3 for each in known):
        bounds = ", ".join(f"{each.name} {each.minimum:g} to {each.maximum:g}" for each in known)
        where = f"the scale {bounds}" if told else f"every PESQ scale ({bounds}); no about.json beside it tells which"
        yield f"pesq={row['pesq']} lies outside {where}."


def _snr(row: dict) -> Iterator[str]:
    yield from _between(row, "snr_db", -_MAX_SNR_DB, _MAX_SNR_DB, "where speech and noise can both be heard")


def _check_quality(row: dict, context: Context) -> Iterator[str]:
    yield from _length(row, "path")
    yield from _pesq(row, context)
    if row["subset"] not in ("clean", "noisy", "enhanced"):
        yield f"subset={row['subset']!r} is none of clean, noisy, enhanced."
    elif row["subset"] == "clean":
        if row["noise"] or row["snr_db"]:
            yield "subset=clean, but it has a noise or snr_db."
    elif not row["noise_type"] or not row["snr_db"]:
        yield f"subset={row['subset']}, but it has no noise_type or no snr_db."
    else:
        yield from _snr(row)


def _check_enhancement(row: dict, context: Context) -> Iterator[str]:
    yield from _length(row, "speech")
    yield from _file(row, "noise")
    yield from _snr(row)
    if _number(row, "seed", int) < 0:
        yield f"seed={row['seed']} is below 0, and a seed is not."


def _check_enhancement_test(row: dict, context: Context) -> Iterator[str]:
    yield from _check_enhancement(row, context)
    yield from _length(row, "path")
    yield from _pesq(row, context)
    yield from _between(row, "stoi", -1, 1, "the range of STOI")
    if row["heard"] not in ("yes", "no"):
        yield f"heard={row['heard']!r} is neither yes nor no."


def _check_speaker(row: dict, context: Context) -> Iterator[str]:
    if row["speaker"] != context.last_speaker and row["speaker"] in context.speakers:
        yield f"speaker={row['speaker']} stood above with others between: rows of one speaker stand together."
    context.speakers.add(row["speaker"])
    context.last_speaker = row["speaker"]
    start, samples, seconds = _number(row, "start", int), _number(row, "samples", int), _number(row, "duration")
    if start < 0:
        yield f"start={start} is below 0, and a file begins with sample 0."
    if samples < 1:
        yield f"samples={samples} leaves nothing to hear."
    rate = context.about.get("sample_rate")
    if rate and abs(seconds - samples / rate) > _TOLERANCE_SECONDS:
        yield f"duration={row['duration']}, but {samples} samples at {rate} Hz are {samples / rate:.3f} s."
    elif seconds <= 0:
        yield f"duration={row['duration']} must be above 0."
    held = _held(row["shard"], context)
    if isinstance(held, str):
        yield held
    elif start >= 0 and start + samples > held:
        yield f"start={start} and samples={samples} reach beyond the {held} samples that {row['shard']} holds."


def _held(shard: str, context: Context) -> int | str:
    """Samples that a file of audio holds, or why it cannot be used; each is opened once."""
    if shard not in context.shards:
        path = context.folder / shard
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            flat = isinstance(found, np.ndarray) and found.dtype == np.int16 and found.ndim == 1
            context.shards[shard] = len(found) if flat else f"shard={shard} holds no int16 samples."
        except FileNotFoundError:
            context.shards[shard] = f"shard={path} does not exist."
        except (OSError, ValueError, EOFError):
            context.shards[shard] = f"shard={path} cannot be opened: it was cut short, or is no .npy file."
    return context.shards[shard]


_QUALITY_EMPTY = frozenset({"noise_type", "noise", "snr_db"})
#: The longer ones first: a manifest of the test has the columns of the training, too.
KINDS = (
    Kind("quality", tuple(quality_data.FIELDS), "ID", _QUALITY_EMPTY, _check_quality),
    Kind("enhancement test", tuple(enhancement_data.FIELDS["test"]), "ID", frozenset(), _check_enhancement_test),
    Kind("enhancement", tuple(enhancement_data.FIELDS["train"]), "ID", frozenset(), _check_enhancement),
    Kind("keyword", (*speaker_index.FIELDS, "keyword"), "utt_id", frozenset(), _check_speaker),
    Kind("speaker", tuple(speaker_index.FIELDS), "utt_id", frozenset(), _check_speaker),
)
