"""The nearest of the known names, for messages about a misspelled one."""

import difflib
from collections.abc import Iterable


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """The choice that begins with a word, or else the most similar one, in any case; None if none is similar.

    >>> nearest("ge2e", ["te2e", "ge2e-softmax"]), nearest("lstmq", ["lstm"]), nearest("x", ["lstm"])
    ('ge2e-softmax', 'lstm', None)
    >>> nearest("LOSS", ["loss-burst", "loss"])
    'loss'
    """
    text, originals = str(word).lower(), {choice.lower(): choice for choice in choices}
    longer = [choice for choice in originals if len(text) > 2 and choice.startswith(text)]
    same = [text] if text in originals else []
    near = same or longer or difflib.get_close_matches(text, originals, n=1, cutoff=0.5)
    return originals[near[0]] if near else None


def did_you_mean(word: object, choices: Iterable[str], quoted: bool = True) -> str:
    """`` Did you mean 'x'?``, or an empty string if no choice is near.

    >>> did_you_mean("lstmq", ["lstm"]), did_you_mean("sead", ["seed", "lr"], quoted=False), did_you_mean("x", ["lstm"])
    (" Did you mean 'lstm'?", ' Did you mean seed?', '')
    """
    near = nearest(word, choices)
    return f" Did you mean {repr(near) if quoted else near}?" if near else ""
