"""tokens/my-net: the tokens of a text.

THE CONTRACT
"""

from collections.abc import Sequence

from speechtools import plugin
from speechtools.core.errors import ConfigError


@plugin("tokens/my-net")
class MyNetTokens:
    """Characters: token 1 is the first of the alphabet.

    Parameters
    ----------
    alphabet : str
        The characters of texts.
    """

    def __init__(self, alphabet: str = " 'abcdefghijklmnopqrstuvwxyz"):
        self.alphabet = alphabet

    def __len__(self) -> int:
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; raise ConfigError for characters that are not in the alphabet."""
        if unknown := sorted(set(text.lower()) - set(self.alphabet)):
            raise ConfigError(f"{text!r} has {unknown[0]!r}, which is not in {self.alphabet!r}. Write it differently.")
        return [self.alphabet.index(character) + 1 for character in text.lower()]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return "".join(self.alphabet[token - 1] for token in tokens)
