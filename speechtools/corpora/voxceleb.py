"""VoxCeleb 1 and 2, once unpacked, and in the case of VoxCeleb 2 converted."""

import re
from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance

#: A path inside the corpus, with "/". Case counts in the ids of videos.
_LAYOUT = re.compile(
    r"(?:^|/)(?:(?:vox[12]_)?(?P<half>dev|train|test)(?:_wav|_aac)?/)?(?:(?:wav|aac|m4a)/)?"
    r"(?P<speaker>id\d{5})/(?P<video>[^/]+)/(?P<segment>\d+)\.[^/.]+$",
    re.IGNORECASE,
)
_SPLITS = {"dev": "train", "train": "train", "test": "test"}


@plugin("corpus/voxceleb")
def voxceleb(data_folder: str | Path) -> Iterator[Utterance]:
    """VoxCeleb: ``<half>/wav/id10270/<video>/00001.wav``, with or without the first two levels.

    ``data_folder`` is the folder that holds the halves, one above it, or a part of the corpus. The half ``dev`` (or
    ``train``) is the split train, ``test`` is test; folders named as the archives are (``vox1_dev_wav``) count as
    halves too. Where not both are there, nothing is divided, and the split is ``""``. Ids are those of the published
    lists of trials with hyphens, ``id10270-<video>-00001``, so that such a list is read as it is. There are no
    transcripts. Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, an id comes twice, a recording is there as ``.m4a`` alone,
        or no file can be read. Single unreadable files are left out with one warning.

    Example
    -------
    >>> speakers = {u.speaker for u in voxceleb("/corpora/voxceleb1")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    matches = _matches(root, files)
    _refuse_unconverted(root, matches)
    if not matches:
        raise _layout.wrong_layout(root, "voxceleb", "dev/wav/id<5 digits>/<video>/<number>.wav (or test)", files)
    splits = {path: _SPLITS.get((match["half"] or "").lower(), "") for path, match in matches.items()}
    divided = {"train", "test"} <= set(splits.values())
    drafts = [
        Utterance(
            utt_id="-".join(_recording(match)),
            speaker=match["speaker"],
            split=splits[path] if divided else "",
            path=path,
            duration=0.0,
        )
        for path, match in matches.items()
    ]
    return _layout.with_durations(root, drafts)


def _matches(root: Path, files: list[Path]) -> dict[Path, re.Match]:
    # From the name of the root on: a part of the corpus is known like the whole.
    matches = {path: _LAYOUT.search(path.relative_to(root.parent).as_posix()) for path in files}
    return {path: match for path, match in matches.items() if match}


def _recording(match: re.Match) -> tuple[str, str, str]:
    return match["speaker"], match["video"], match["segment"]


def _refuse_unconverted(root: Path, matches: dict[Path, re.Match]) -> None:
    """VoxCeleb 2 comes as AAC, which libsndfile does not read: half a converted corpus must not pass for the whole."""
    originals = _matches(root, sorted(root.rglob("*.m4a")))
    converted = {_recording(match) for match in matches.values()}
    lacking = [path for path, match in originals.items() if _recording(match) not in converted]
    if lacking:
        raise CorpusError(
            f"{len(lacking)} of {len(originals)} .m4a files of the corpus {root} have no converted copy, and .m4a "
            f"cannot be read; the first is {lacking[0]}. Convert each to 16 kHz WAV or FLAC beside it, or in the same "
            "folders below wav/, and leave the names as they are."
        )
