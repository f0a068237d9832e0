"""Corpus readers (kind ``corpus``), one per file; a new reader needs a file and an entry in this list."""

from speechtools.corpora import (  # noqa: F401
    arabic_speech_commands,
    audiomnist,
    builtin,
    builtin_keywords,
    builtin_phrases,
    folder,
    kaldi,
    keyword_folder,
    labelled,
    librispeech,
    speech_commands,
    timit,
    voxceleb,
)
