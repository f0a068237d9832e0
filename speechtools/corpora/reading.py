"""Reading one corpus or several by the names of their readers."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from speechtools.core.errors import ConfigError
from speechtools.core.registry import build, find
from speechtools.corpora.utterance import Utterance


def each_corpus(
    names: Sequence[str], folders: Sequence[str | Path], corpus_options: dict[str, dict] | None = None
) -> Iterator[list[Utterance]]:
    """The utterances of one corpus after the other. Of several, ids and speakers get the corpus's name before them.

    Parameters
    ----------
    names, folders : sequence
        Names of readers, and the folder that each reads; an empty one leaves it to the reader.
    corpus_options : dict
        Further arguments of readers, by their names.

    Raises
    ------
    ConfigError
        The two lists differ in length.
    PluginError
        No such reader, or no such argument of it.
    """
    if len(names) != len(folders):
        raise ConfigError(
            f"{len(names)} corpora ({', '.join(names)}) but {len(folders)} data folders. "
            "Give one folder for each corpus."
        )
    for name in (*names, *(corpus_options or {})):
        find(f"corpus/{name}")
    for number, (name, folder) in enumerate(zip(names, folders, strict=True)):
        arguments = dict((corpus_options or {}).get(name, {}))
        if str(folder):
            arguments["data_folder"] = folder
        else:
            takes = inspect.signature(find(f"corpus/{name}")).parameters.get("data_folder")
            if takes is not None and takes.default is takes.empty and "data_folder" not in arguments:
                raise ConfigError(f"The corpus {name} has no folder. Give data_folder, its folder on this machine.")
        utterances = list(build(f"corpus/{name}", **arguments))
        if len(names) > 1:  # two corpora may both have a speaker "1"
            utterances = [
                replace(u, utt_id=f"{name}{number}-{u.utt_id}", speaker=f"{name}{number}-{u.speaker}")
                for u in utterances
            ]
        yield utterances


def with_corpus(speaker: str, names: Sequence[str]) -> str:
    """A speaker of :func:`each_corpus` with the corpus's name, wherever in the list of names it stands.

    >>> with_corpus("fabc0", ["timit"]), with_corpus("timit1-fabc0", ["kaldi", "timit"])
    ('timit-fabc0', 'timit-fabc0')
    """
    if len(names) == 1:
        return f"{names[0]}-{speaker}"
    prefixes = {f"{name}{number}-": f"{name}-" for number, name in enumerate(names)}
    return next((new + speaker[len(old) :] for old, new in prefixes.items() if speaker.startswith(old)), speaker)
