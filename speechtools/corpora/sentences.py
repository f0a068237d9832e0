"""English sentences for the built-in corpus, written for it: 6 to 14 words each, all distinct, of mixed sounds.

``SA`` are the two sentences of every speaker, ``SX`` those that several speakers share, ``SI`` those of one speaker
only, as in TIMIT's design (Garofolo et al., "DARPA TIMIT acoustic-phonetic continuous speech corpus", 1993); none is
TIMIT's. :func:`composed` makes further sentences from a small grammar. The texts are in ``sentences.txt``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_TEXT = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
_SECTIONS = {name: tuple(body.strip().split("\n")) for name, body in re.findall(r"\[(\w+)\]\n([^\[]+)", _TEXT)}

#: Said by every speaker: together they contain most vowels and the consonants in which English accents differ.
SA = _SECTIONS["SA"]
SX, SI = _SECTIONS["SX"], _SECTIONS["SI"]


def composed(seed: int = 0) -> Iterator[str]:
    """Distinct sentences "<subject> <verb> <object> <place or time>", in an order drawn from the seed.

    The grammar has 26 subjects, 24 verbs, 24 objects and 28 endings: about 400,000 sentences, none in ``SX`` or
    ``SI``.

    >>> sentences = composed(seed=0)
    >>> next(sentences) != next(sentences)
    True
    """
    grammar = ("subjects",), ("verbs",), ("objects",), ("places", "times")
    parts = [[word for name in names for line in _SECTIONS[name] for word in line.split("|")] for names in grammar]
    sizes = [len(part) for part in parts]
    total = int(np.prod(sizes))
    # A full cycle without a table: i * step mod total visits every number once if step and total are coprime.
    rng = np.random.default_rng([seed, 1])
    step = int(rng.integers(total // 3, total // 2))
    while np.gcd(step, total) != 1:
        step += 1
    start = int(rng.integers(total))
    for i in range(total):
        indices = np.unravel_index((start + i * step) % total, sizes)
        text = " ".join(part[index] for part, index in zip(parts, indices, strict=True))
        if len(text.split()) <= 14:
            yield text[0].upper() + text[1:] + "."
