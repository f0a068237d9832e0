"""VoxCeleb 1 and 2, unpacked, and in the case of VoxCeleb 2 converted."""

import re
from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance

_PATTERN = re.compile(
    r"(?:^|/)(?:(?:vox[12]_)?(?P<half>dev|train|test)(?:_wav|_aac)?/)?(?:(?:wav|aac|m4a)/)?"
    r"(?P<speaker>id\d{5})/(?P<video>[^/]+)/(?P<segment>\d+)\.[^/.]+$",
    re.IGNORECASE,
)
_SPLITS = {"dev": "train", "train": "train", "test": "test"}


@plugin("corpus/voxceleb")
def voxceleb(data_folder: str | Path) -> Iterator[Utterance]:
    """VoxCeleb: ``<half>/wav/id10270/<video>/00001.wav``, with or without the first two levels.

    ``data_folder`` is the folder with the halves, one above it, or a subfolder of the corpus. The half ``dev``
    (or ``train``) is the split train, ``test`` is test; folders named like the archives (``vox1_dev_wav``) count as
    halves too. Unless both are present, the split is ``""``. Ids are those of the published lists of trials with
    hyphens, ``id10270-<video>-00001``, so that such a list can be read as it is. There are no transcripts. Sorted by
    id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, two files have the same id, a recording exists only as
        ``.m4a``, or no file can be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> speakers = {u.speaker for u in voxceleb("/corpora/voxceleb1")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    matches = _layout.matching(root, files, _PATTERN)
    _check_converted(root, matches)
    if not matches:
        raise _layout.wrong_layout(root, "voxceleb", "dev/wav/id<5 digits>/<video>/<number>.wav (or test)", files)
    splits = {path: _SPLITS.get((match["half"] or "").lower(), "") for path, match in matches.items()}
    divided = {"train", "test"} <= set(splits.values())
    utterances = [
        Utterance("-".join(_recording(match)), match["speaker"], splits[path] if divided else "", path, duration=0.0)
        for path, match in matches.items()
    ]
    return _layout.with_durations(root, utterances)


def _recording(match: re.Match) -> tuple[str, str, str]:
    return match["speaker"], match["video"], match["segment"]


def _check_converted(root: Path, matches: dict[Path, re.Match]) -> None:
    """Check that every AAC file of VoxCeleb 2 has a converted copy, because libsndfile cannot read AAC."""
    originals = _layout.matching(root, sorted(root.rglob("*.m4a")), _PATTERN)
    converted = {_recording(match) for match in matches.values()}
    missing = [path for path, match in originals.items() if _recording(match) not in converted]
    if missing:
        raise CorpusError(
            f"{len(missing)} of {len(originals)} .m4a files of the corpus {root} have no converted copy, such as "
            f"{missing[0]}. Convert each to 16 kHz WAV or FLAC, beside it or in the same folders below wav/."
        )
