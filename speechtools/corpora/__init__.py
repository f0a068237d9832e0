"""Corpus readers (kind ``corpus``), one a file; a new reader needs its file and its name in this list."""

from speechtools.corpora import (  # noqa: F401
    arabic_speech_commands,
    audiomnist,
    builtin,
    builtin_keywords,
    folder,
    kaldi,
    keyword_folder,
    labelled,
    librispeech,
    speech_commands,
    timit,
    voxceleb,
)
