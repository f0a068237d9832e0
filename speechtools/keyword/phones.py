"""How English words are spoken: a letter for each phone, by espeak-ng.

A small detector learns phones from far less speech than the spelling of English: "c" is spoken in four ways, and "k"
is written in three.
"""

import sys
import unicodedata
from collections.abc import Iterable
from importlib.util import find_spec

from speechtools.core.errors import SpeechtoolsError
from speechtools.corpora.espeak import Synthesizer

#: Phones that are taken for others: what one speaker says as the first, another says as the second.
_JOINED = str.maketrans({"ɾ": "t", "ʔ": "t", "ɐ": "ə", "ɜ": "ɚ", "ᵻ": "ɪ", "ɬ": "l", "x": "k"})
_spoken: dict[str, str] = {}


def spoken(texts: Iterable[str]) -> list[str]:
    """The phones of texts of English words in lower case, with a blank between words.

    A letter is a phone; two of them make a diphthong. Stress and length are left out. Each word is spoken on its own.

    Raises
    ------
    SpeechtoolsError
        The package espeakng-loader, of the extra ``keywords``, is not installed.

    Examples
    --------
    >>> spoken(["ok google", "hey computer"])
    ['oʊkeɪ ɡuɡəl', 'heɪ kəmpjutɚ']
    """
    if "espeakng_loader" not in sys.modules and find_spec("espeakng_loader") is None:
        raise SpeechtoolsError(
            "How keywords are spoken is known to the package espeakng-loader, which is not installed. Install it with: "
            'pip install "speechtools[keywords]"'
        )
    split = [text.split() for text in texts]
    if unknown := sorted({word for words in split for word in words} - _spoken.keys()):
        _spoken.update(zip(unknown, map(_letters, Synthesizer().phonemes(unknown)), strict=True))
    return [" ".join(filter(None, (_spoken[word] for word in words))) for words in split]


def _letters(phonemes: str) -> str:
    """Only the letters of phonemes: no stress, length, ties or blanks."""
    letters = "".join(c for c in phonemes.translate(_JOINED) if unicodedata.category(c) == "Ll")
    return letters.replace("oɹ", "ɔɹ")  # versions of espeak-ng differ
