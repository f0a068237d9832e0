"""Corpus readers (kind ``corpus``), one a file. Importing this package files them all."""

from speechtools.corpora import (
    arabic_speech_commands,
    audiomnist,
    builtin,
    builtin_keywords,
    folder,
    kaldi,
    keyword_folder,
    librispeech,
    speech_commands,
    timit,
    voxceleb,
)

__all__ = [
    "arabic_speech_commands",
    "audiomnist",
    "builtin",
    "builtin_keywords",
    "folder",
    "kaldi",
    "keyword_folder",
    "librispeech",
    "speech_commands",
    "timit",
    "voxceleb",
]
