"""Corpus readers (kind ``corpus``), one a file. Importing this package files them all."""

from speechtools.data.corpora import builtin, folder, kaldi, librispeech, timit, voxceleb

__all__ = ["builtin", "folder", "kaldi", "librispeech", "timit", "voxceleb"]
