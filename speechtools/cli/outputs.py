"""Outputs of commands that write a recording for each recording: their names, and which are still to be written."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from speechtools.cli.common import refuse_inputs
from speechtools.core.errors import ConfigError, printable
from speechtools.core.files import is_stream

#: Suffixes of recordings that are written.
OUTPUT_SUFFIXES = (".wav", ".flac")


def pair_outputs(source: Path, target: Path, what: str) -> list[tuple[Path, Path]]:
    """List the recordings of a file or folder and their outputs in a file or folder; ``what`` the outputs are.

    Recordings in ``target``, if that is a folder inside ``source``, are those of an earlier run, and left out.

    Raises
    ------
    ConfigError
        The target does not fit the source, two outputs are the same, or one would replace a recording.
    """
    if os.path.isdir(source):  # unlike Path.is_dir, it takes names of any length
        from speechtools.audio.recordings import find_recordings  # torch

        if target.suffix.lower() in OUTPUT_SUFFIXES or target.is_file():
            raise ConfigError(f"{source} is a folder and {target} a file. Pass a folder for the {what} recordings.")
        paths = [path for path in find_recordings([source]) if not _is_inside(path, target, source)]
        files = [(path, (target / path.relative_to(source)).with_suffix(".wav")) for path in paths]
    else:
        if not target.suffix and not target.is_dir():
            raise ConfigError(f"The folder {target} does not exist. Create it, or add .wav or .flac for a file.")
        files = [(source, target / f"{source.stem}.wav" if target.is_dir() else target)]
    check_pairs(files)
    return files


def pair_listed(names: Mapping[Path, str], target: Path) -> list[tuple[Path, Path]]:
    """List recordings by their names in a list, and their outputs in a folder: ``name.wav``, without a former suffix.

    Folders of a name become subfolders; those of an absolute path, or above the list, do so without what leads there.

    Raises
    ------
    ConfigError
        The target is a file, two outputs are the same, or one would replace a recording.
    """
    if target.suffix.lower() in OUTPUT_SUFFIXES or target.is_file():
        raise ConfigError(f"--out={target} is a file. Pass a folder for the recordings of the list.")
    files = []
    for path, name in names.items():
        parts = [part for part in Path(name).parts if part != ".." and part != Path(name).anchor]
        inside = Path(*parts)
        is_suffix = inside.suffix.lower() == path.suffix.lower()  # an id may contain dots
        files.append((path, target / (inside.with_suffix(".wav") if is_suffix else f"{inside}.wav")))
    check_pairs(files)
    return files


def check_pairs(files: list[tuple[Path, Path]]) -> None:
    """Raise a :class:`ConfigError` if two outputs are the same, or one would replace a recording."""
    sources: dict[Path, Path] = {}
    for path, output in files:
        if output in sources:
            raise ConfigError(f"{sources[output]} and {path} would both become {output}. Rename one of them.")
        sources[output] = path
    refuse_inputs([path for path, _ in files], {"OUTPUT": sources})


def _is_inside(path: Path, target: Path, source: Path) -> bool:
    """Whether a recording in ``source`` is in the folder ``target``, if that is a folder inside ``source``."""
    # Unlike Path.resolve, realpath takes a link that leads back to itself.
    target, source, path = (Path(os.path.realpath(place)) for place in (target, source, path))
    return target != source and target.is_relative_to(source) and path.is_relative_to(target)


def remaining_pairs(files: list[tuple[Path, Path]], resume: bool, overwrite: bool) -> list[tuple[Path, Path]]:
    """List the recordings whose outputs are still to be written.

    Raises
    ------
    ConfigError
        An output exists, and is neither to be skipped nor to be replaced.
    """
    existing = {output for _, output in files if output.exists() and not is_stream(output)}
    if resume:  # an empty file is what another program left on a full disk
        return [pair for pair in files if pair[1] not in existing or not pair[1].stat().st_size]
    if existing and not overwrite:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise ConfigError(
            f"{min(existing)}{others} would be replaced. Choose another output, pass --overwrite to replace, or "
            "--resume to skip."
        )
    return files


def check_settings(command: str, outputs: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
    """Raise an error if an output of an earlier run was written with other settings, by the name of the option.

    Outputs of other programs, which have no settings, are left alone.

    Raises
    ------
    ConfigError
        The first such output, and the options that differ.
    """
    from speechtools.audio.settings import read_settings, stored

    for output, settings in outputs:
        earlier = read_settings(output, command)
        if earlier is None:
            continue
        options = [f"--{key}" for key, value in stored(settings).items() if earlier.get(key, value) != value]
        if options:
            raise ConfigError(
                f"{printable(output)} was written with another {' and '.join(options)}, so that --resume would mix "
                "both. Use the same options, or choose another output."
            )
