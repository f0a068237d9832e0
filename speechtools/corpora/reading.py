"""Reading one corpus or several by the names of their readers."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from speechtools.core.checks import naming
from speechtools.core.errors import ConfigError
from speechtools.core.registry import build, find
from speechtools.corpora.utterance import Utterance


def absolute_folder(folder: str | Path) -> str:
    """An absolute path, which is the same folder wherever a run is started; an empty one stays empty."""
    return str(Path(folder).expanduser().absolute()) if str(folder) else ""


def describe_speech(names: Sequence[str]) -> str:
    """Describe the speech of corpora for results.

    >>> describe_speech(["builtin", "timit"])
    'built-in synthetic speech + timit'
    """
    builtin = {
        "builtin": "built-in synthetic speech",
        "builtin-keywords": "built-in synthetic keywords",
        "builtin-phrases": "built-in synthetic phrases",
    }
    return " + ".join(builtin.get(name, name) for name in names)


def each_corpus(
    names: Sequence[str], folders: Sequence[str | Path], corpus_options: dict[str, dict] | None = None
) -> Iterator[list[Utterance]]:
    """The utterances of one corpus after the other. With several, ids and speakers are prefixed with the corpus.

    Parameters
    ----------
    names, folders : sequence
        Names of readers, and the folder for each; an empty one leaves the choice to the reader.
    corpus_options : dict
        Further arguments of readers, by their names.

    Raises
    ------
    ConfigError
        The two lists differ in length, or a reader needs a folder.
    PluginError
        Unknown reader, or unknown argument of one.
    """
    options = corpus_options or {}
    check_corpora(names, folders, options)
    for number, (name, folder) in enumerate(zip(names, folders, strict=True)):
        arguments = dict(options.get(name, {}))
        if str(folder):
            arguments["data_folder"] = folder
        utterances = list(build(f"corpus/{name}", **arguments))
        if len(names) > 1:  # two corpora may both have a speaker "1"
            prefix = f"{name}{number}-"
            utterances = [replace(u, utt_id=prefix + u.utt_id, speaker=prefix + u.speaker) for u in utterances]
        yield utterances


def check_corpora(
    names: Sequence[str], folders: Sequence[str | Path], corpus_options: dict[str, dict] | None = None
) -> None:
    """Check the names of readers and whether they have the folders that they need, as :func:`each_corpus` does."""
    options = corpus_options or {}
    if len(names) != len(folders):
        raise ConfigError(
            f"{len(names)} corpora ({', '.join(names)}) but {len(folders)} data folders. Pass one folder per corpus."
        )
    for name in names:
        with naming("corpus"):
            find(f"corpus/{name}")
    for name in options:
        with naming("corpus_options"):
            find(f"corpus/{name}")
    for name, folder in zip(names, folders, strict=True):
        parameter = inspect.signature(find(f"corpus/{name}")).parameters.get("data_folder")
        is_needed = parameter is not None and parameter.default is parameter.empty
        if is_needed and not str(folder) and "data_folder" not in options.get(name, {}):
            raise ConfigError(f"The corpus {name} has no folder. Set data_folder to its folder on this machine.")


def with_corpus(speaker: str, names: Sequence[str]) -> str:
    """A speaker of :func:`each_corpus` prefixed with the corpus, independent of its place in the list of names.

    >>> with_corpus("fabc0", ["timit"]), with_corpus("timit1-fabc0", ["kaldi", "timit"])
    ('timit-fabc0', 'timit-fabc0')
    """
    if len(names) == 1:
        return f"{names[0]}-{speaker}"
    prefixes = {f"{name}{number}-": f"{name}-" for number, name in enumerate(names)}
    return next((new + speaker[len(old) :] for old, new in prefixes.items() if speaker.startswith(old)), speaker)
