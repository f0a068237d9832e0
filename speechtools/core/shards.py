"""Tar shards in the format of the library WebDataset: list, read, index and write them.

The members of a shard with one name up to its first dot are a sample: a recording, as in ``000012_call.flac``, and the
JSON object of its row, ``000012_call.json``.
"""

import contextlib
import dataclasses
import glob
import itertools
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple

from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError, first_of
from speechtools.core.files import disk_errors, fingerprint, write_aside
from speechtools.core.installation import optional_package
from speechtools.core.jobs import progress_bar
from speechtools.core.rows import Row, RowType, read_rows, write_rows

#: Suffixes of members that are neither the recording nor its row.
_TEXTS = ("txt", "cls", "id")
#: Bytes of a block of a tar file. The last one of a whole file is empty.
_BLOCK = 512
#: Longest part of a row's ID in the name of its sample; a tar file takes names of 100 bytes.
_LONGEST_NAME = 60
#: Exit statuses of curl.
_CURL = {
    3: "is not a valid URL",
    6: "is on a host that is not known",
    7: "is on a server that does not answer",
    18: "ended before its length",
    22: "is not on the server",
    28: "took too long to load",
}


class Sample(NamedTuple):
    """A sample of a shard.

    Attributes
    ----------
    shard, key : str
        The URL of the shard, and the name of the sample in it.
    suffix : str
        Of the recording, without its dot.
    recording : bytes
        Content of the audio file.
    values : dict
        Content of the JSON object.
    """

    shard: str
    key: str
    suffix: str
    recording: bytes
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the recording, without folders."""
        return f"{self.key}.{self.suffix}".rpartition("/")[2]

    @property
    def place(self) -> str:
        """Where the sample is, for messages."""
        return _place(self.shard, self.key)


def webdataset(purpose: str = "train_shards") -> ModuleType:
    """Import the library.

    Raises
    ------
    SpeechtoolsError
        It is not installed.
    """
    return optional_package("webdataset", purpose, "shards")


# ------------------------------------------------------------------------------------------------------------ reading


def list_shards(patterns: str | Sequence[str]) -> list[str]:
    """List the URLs or paths of shards.

    Parameters
    ----------
    patterns : str or sequence of str
        Paths and URLs, with braces as in ``train-{000000..000015}.tar``; paths also with asterisks.

    Raises
    ------
    ConfigError
        A pattern matches no file or is not valid, or a shard is repeated.
    SpeechtoolsError
        The package ``webdataset`` is not installed.
    """
    expand = webdataset().shardlists.expand_urls
    urls: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            expanded = expand(pattern)
        except ValueError as error:
            raise ConfigError(
                f"Invalid pattern of shards {pattern}: {error}. Write it as train-{{00..15}}.tar."
            ) from error
        for url in expanded:
            local = _local(url)
            matches = sorted(glob.glob(str(local))) if local is not None and "*" in url else [str(local or url)]
            if not matches:
                raise ConfigError(
                    f"No file matches the shards {url}. Check the folder, or write them with `speechtools shards`."
                )
            urls += matches
    if repeated := sorted({url for url in urls if urls.count(url) > 1}) if len(set(urls)) < len(urls) else []:
        raise ConfigError(f"Shards are repeated: {first_of(repeated)}. Name each once.")
    return urls


def read_shard(url: str) -> Generator[Sample, None, None]:
    """Read the samples of a shard in their order, as a stream.

    Raises
    ------
    CorpusError
        The shard is missing or damaged, or a sample has no recording or no row.
    SpeechtoolsError
        The package ``webdataset`` is not installed.
    """
    library = webdataset()
    with _shard_errors(url):
        stream = _Stream(library.gopen(url))
        try:
            files = library.tariterators.tar_file_expander([{"url": url, "stream": stream}])
            for members in library.tariterators.group_by_keys(files):
                yield _sample(url, members)
            if url.endswith(".tar") and any(stream.last):
                raise tarfile.ReadError("the last block is not empty")
        finally:
            stream.close()


def _sample(url: str, members: dict[str, Any]) -> Sample:
    key = members["__key__"]
    content = {suffix: data for suffix, data in members.items() if not suffix.startswith("__")}
    recordings = [suffix for suffix in content if suffix != "json" and suffix not in _TEXTS]
    if len(recordings) != 1:
        reason = f"has the recordings {', '.join(recordings)}" if recordings else "has no recording"
        raise CorpusError(f"{_place(url, key)} {reason}. Write one beside its .json, such as {key}.flac.")
    if "json" not in content:
        raise CorpusError(f"{_place(url, key)} has no row. Write {key}.json, with its score and measure.")
    try:
        values = json.loads(content["json"])
    except ValueError as error:
        raise CorpusError(f"{_place(url, key)}: its .json is not valid ({error}). Write it again.") from error
    if not isinstance(values, dict):
        raise CorpusError(f'{_place(url, key)}: its .json is not an object, as in {{"score": 3.1}}. Write it again.')
    return Sample(url, key, recordings[0], content[recordings[0]], values)


class _Stream:
    """A stream that remembers its last block: tarfile takes a file that is cut between two members for a whole one."""

    def __init__(self, stream: Any):
        self._stream, self.last = stream, b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.last = (self.last + data)[-_BLOCK:] if data else self.last
        return data

    def close(self) -> None:
        self._stream.close()


@contextlib.contextmanager
def _shard_errors(url: str) -> Iterator[None]:
    """Raise what the library raises for a shard as CorpusError."""
    try:
        yield
    except SpeechtoolsError:
        raise
    except FileNotFoundError as error:
        if error.filename == "curl":
            raise CorpusError(f"The shard {url} needs the program curl. Install it, or copy the shard.") from error
        raise CorpusError(f"The shard {url} does not exist. Check the path and the numbers in braces.") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise CorpusError(f"The shard {url} is truncated or not a tar file. Copy or write it again.") from error
    except OSError as error:
        status = re.search(r"exit (-?\d+)", str(error))
        reason = str(error)
        if status:  # of the program that loads it
            reason = _CURL.get(int(status[1]), f"cannot be loaded (exit status {status[1]})")
        elif error.strerror:
            reason = f"cannot be read ({error.strerror})"
        raise CorpusError(f"The shard {url} {reason}. Check the URL; a training continues where it was.") from error
    except ValueError as error:
        raise CorpusError(f"The shard {url} cannot be read ({error.args[0]}). Write it again.") from error


# -------------------------------------------------------------------------------------------------------------- index


@dataclasses.dataclass(frozen=True)
class Shard(Generic[RowType]):
    """A shard and its rows.

    Attributes
    ----------
    url : str
    rows : dict
        By the number of the sample in the shard, from 0.
    index : Path
        The file with the rows.
    """

    url: str
    rows: dict[int, RowType]
    index: Path

    def read(self, numbers: Iterable[int]) -> Generator[tuple[RowType, Sample], None, None]:
        """Read samples of ascending numbers, with their rows.

        Raises
        ------
        CorpusError
            As in :func:`read_shard`, or the shard has other samples than its rows say.
        """
        wanted = iter(numbers)
        number = next(wanted, None)
        if number is None:
            return
        with contextlib.closing(read_shard(self.url)) as samples:
            for count, sample in enumerate(samples):
                if count == number:
                    row = self.rows[number]
                    name = row.path.name  # type: ignore[attr-defined]
                    if name != sample.name:
                        raise self._changed(f"sample {count} is {sample.name} instead of {name}")
                    yield row, sample
                    if (number := next(wanted, None)) is None:
                        return
        raise self._changed(f"it has no sample {number}")

    def _changed(self, reason: str) -> CorpusError:
        return CorpusError(
            f"The shard {self.url} differs from its list: {reason}. If it was written anew, delete {self.index}; if it "
            "is truncated, copy it again."
        )


def index_shards(
    urls: Sequence[str], model: type[RowType], make_row: Callable[[Sample], RowType], folder: str | Path
) -> list[Shard[RowType]]:
    """List the rows of shards, from the manifest beside each (``train-000000.csv``), or from the shard itself.

    Parameters
    ----------
    urls : sequence of str
        As :func:`list_shards` returns them.
    model : type
        Of the rows, which have a ``path``: the name of the recording in the shard.
    make_row : callable
        Makes the row of a sample of a shard without a manifest.
    folder : str or Path
        Where rows are kept, so that a second run does not read the shards again. A changed file is read again.

    Raises
    ------
    CorpusError
        A shard is missing, damaged or empty, or from ``make_row``.
    """
    shards = []
    for url in progress_bar(urls, "Listing the shards", len(urls)):
        local = _local(url)
        status: tuple[int, ...] = ()
        if local is not None:
            with _shard_errors(url):
                status = (os.stat(local).st_size, os.stat(local).st_mtime_ns)
        name = fingerprint({"url": url if local is None else str(local.absolute()), "status": status})
        index = Path(folder) / f"{name}.csv"
        if not index.is_file():
            rows = _listed(url, model)
            if rows is None:
                rows = [make_row(sample) for sample in read_shard(url)]
            if not rows:
                raise CorpusError(f"The shard {url} has no samples. Leave it out, or write it again.")
            with disk_errors(str(index), "Free some space, and start again."):
                write_rows(index, model, rows)
        shards.append(Shard(url, dict(enumerate(read_rows(index, model))), index))
    return shards


def _listed(url: str, model: type[RowType]) -> list[RowType] | None:
    """The rows of the manifest beside a shard; None if it has none."""
    manifest = re.sub(r"\.tar$", ".csv", url)
    local = _local(manifest)
    if manifest == url or (local is not None and not local.is_file()):
        return None
    try:
        with contextlib.closing(webdataset().gopen(manifest)) as stream:
            content = stream.read()
    except (OSError, ValueError):  # ValueError: a scheme that is not known, which the shard will report
        return None
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "manifest.csv"
        copy.write_bytes(content)
        try:
            rows = read_rows(copy, model)
        except CorpusError as error:
            raise CorpusError(str(error).replace(str(copy), manifest)) from error
        # The copy's folder became that of the paths.
        return [dataclasses.replace(row, path=Path(row.path.name)) for row in rows]  # type: ignore[attr-defined,call-arg]


def _local(url: str) -> Path | None:
    """The path of a URL without a scheme."""
    return None if re.match(r"\w+:", url) and not re.match(r"\w:[\\/]", url) else Path(url).expanduser()


def _place(url: str, key: str) -> str:
    return f"{url}, sample {key}"


# ------------------------------------------------------------------------------------------------------------ writing


def write_shards(
    folder: str | Path,
    prefix: str,
    model: type[RowType],
    samples: Iterable[tuple[RowType, str, bytes]],
    megabytes: float,
) -> list[Path]:
    """Write samples to shards ``<prefix>-000000.tar`` and so on, each with the manifest of its rows beside it.

    Parameters
    ----------
    folder : str or Path
    prefix : str
    model : type
        Of the rows, which have an ``ID`` and a ``path``.
    samples : iterable
        Row, suffix and content of the recording.
    megabytes : float
        A shard ends with the sample that makes it this large.

    Returns
    -------
    list of Path

    Raises
    ------
    CorpusError
        A file cannot be written, for example because the disk is full.
    SpeechtoolsError
        The package ``webdataset`` is not installed.
    """
    library = webdataset("Writing shards")
    paths: list[Path] = []
    numbered = enumerate(samples)
    for first in numbered:
        path = Path(folder) / f"{prefix}-{len(paths):06d}.tar"
        manifest, rows, size = path.with_suffix(".csv"), [], 0
        with disk_errors(str(path), "Free some space or choose another folder, and start again.", megabytes):
            path.parent.mkdir(parents=True, exist_ok=True)
            manifest.unlink(missing_ok=True)  # it may be that of another shard
            with (
                write_aside(path) as aside,
                open(aside, "wb") as file,
                library.TarWriter(file, encoder=False, mtime=0.0) as writer,  # the same samples give the same file
            ):
                for number, (row, suffix, recording) in itertools.chain([first], numbered):
                    name = row.ID  # type: ignore[attr-defined]
                    key = f"{number:06d}_{re.sub('[^A-Za-z0-9-]+', '_', name)[:_LONGEST_NAME]}"
                    size += writer.write({"__key__": key, suffix: recording, "json": _json(row)})
                    rows.append(dataclasses.replace(row, path=Path(f"{key}.{suffix}")))  # type: ignore[call-arg]
                    if size >= 1e6 * megabytes:
                        break
            write_rows(manifest, model, rows)
        paths.append(path)
    return paths


def pattern_of(paths: Sequence[Path]) -> str:
    """The pattern of shards that :func:`write_shards` has written.

    >>> pattern_of([Path("out/train-000000.tar"), Path("out/train-000001.tar")])
    'out/train-{000000..000001}.tar'
    """
    if len(paths) == 1:
        return str(paths[0])
    (prefix, _, first), (_, _, last) = (path.stem.rpartition("-") for path in (paths[0], paths[-1]))
    return str(paths[0].with_name(f"{prefix}-{{{first}..{last}}}.tar"))


def _json(row: Row) -> bytes:
    """The values of a row but its path, which is that of another machine."""
    values = {name: value for name, value in dataclasses.asdict(row).items() if value is not None and name != "path"}
    return json.dumps(values, default=str).encode()
