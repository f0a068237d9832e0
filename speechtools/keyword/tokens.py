"""Tokens of a text (kind ``tokens``): pieces of words, by a model of sentencepiece, trained on transcripts.

The transcripts are spelled in letters, or in phones (:mod:`speechtools.keyword.phones`).

Token 0 is the blank of CTC (Graves et al.: Connectionist temporal classification, ICML 2006), which sentencepiece uses
for unknown characters: none occurs, since texts with other characters than those of the model are refused.
"""

import base64
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from speechtools.core.errors import ConfigError, first_of
from speechtools.core.registry import build, plugin

#: The token of CTC between two others.
BLANK = 0
#: What transcripts are reduced to by default.
ALPHABET = "abcdefghijklmnopqrstuvwxyz'"
#: Marks the beginning of a word in a token.
WORD = "▁"
_TYPES = ("char", "unigram", "bpe")
SPELLINGS = ("letters", "phones")


@plugin("tokens/sentencepiece")
class SentencePieceTokens:
    """The tokens of a sentencepiece model (Kudo and Richardson: SentencePiece, EMNLP 2018).

    Parameters
    ----------
    model : str
        The model in base64, as :func:`train_tokens` makes it. It travels in the ``config.json`` of a trained detector.
    spelling : str
        Whether its characters are ``letters`` or ``phones``.

    Raises
    ------
    ConfigError
        It is not a model of sentencepiece, or not one that :func:`train_tokens` made; or the spelling is unknown.

    Examples
    --------
    >>> tokens = train_tokens(["ok google", "hey computer"])
    >>> [tokens.piece(token) for token in tokens.encode("Hey Google")]
    ['▁', 'h', 'e', 'y', '▁', 'g', 'o', 'o', 'g', 'l', 'e']
    """

    def __init__(self, model: str, spelling: str = "letters"):
        from sentencepiece import SentencePieceProcessor

        _check_spelling(spelling)
        try:
            self.processor = SentencePieceProcessor(model_proto=base64.b64decode(model, validate=True))
            unknown = self.processor.unk_id()
        except Exception as error:  # the package raises RuntimeError, binascii another
            raise ConfigError("model is not a sentencepiece model in base64. Train one with the recipe.") from error
        if unknown != BLANK:
            raise ConfigError(f"The unknown token of the sentencepiece model is {unknown}; {BLANK} is needed.")
        self.model, self.spelling = model, spelling
        self.characters = "".join(sorted({c for k in range(1, len(self)) for c in self.piece(k)} - {WORD}))
        self.alphabet = ALPHABET if spelling == "phones" else self.characters  # of texts

    def __len__(self) -> int:
        return int(self.processor.get_piece_size())

    def piece(self, token: int) -> str:
        """Return the text of a token; ``▁`` begins a word."""
        return str(self.processor.id_to_piece(int(token)))

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, in which case and punctuation do not count.

        Raises
        ------
        ConfigError
            It has characters that the model lacks, or is not spoken.
        SpeechtoolsError
            The model knows phones, and espeakng-loader, of the extra ``keywords``, is not installed.
        """
        plain = normalized(text)
        if lacking := sorted(set(plain) - set(self.alphabet) - {" "}):
            names = first_of(list(map(repr, lacking)))
            raise ConfigError(f"{text!r} has {names}, which the token model lacks.{_nearest(lacking, self)}")
        spelled = _spelled([plain], self.spelling)[0]
        if lacking := sorted(set(spelled) - set(self.characters) - {" "}):
            raise ConfigError(f"{text!r} is spoken with {first_of(lacking)}, which the token model lacks. Use another.")
        if plain and not spelled:
            raise ConfigError(f"espeak-ng is silent for {text!r}. Write it with English words.")
        return [int(token) for token in self.processor.encode(spelled)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return "".join(self.piece(token) for token in tokens).replace(WORD, " ").strip()


def normalized(text: str) -> str:
    """Reduce a text to lower case without punctuation, but for apostrophes within words.

    >>> normalized("Well, it's O’Brien – again!")
    "well it's o'brien again"
    """
    plain = unicodedata.normalize("NFC", text).casefold().replace("’", "'").replace("ʼ", "'")
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in plain)
    return " ".join(word for word in (word.strip("'") for word in kept.split()) if word)


def train_tokens(
    texts: Iterable[str], num_tokens: int = 64, kind: str = "char", alphabet: str = "", spelling: str = "letters"
) -> SentencePieceTokens:
    """Train a token model on transcripts.

    Parameters
    ----------
    texts : iterable of str
    num_tokens : int
        Most tokens, the blank included. Characters are fewer.
    kind : str
        ``char``: characters; ``unigram`` or ``bpe``: pieces of words.
    alphabet : str
        Letters that are tokens even if no text has them.
    spelling : str
        ``letters`` or ``phones``.

    Raises
    ------
    ConfigError
        The kind or the spelling is unknown, the texts are empty, or ``num_tokens`` is less than the characters need.
    """
    if kind not in _TYPES:
        raise ConfigError(f"token_kind={kind!r} is none of {', '.join(_TYPES)}.")
    _check_spelling(spelling)
    plain = [line for line in _spelled([normalized(text) for text in texts], spelling) if line]
    alphabet = "" if spelling == "phones" else alphabet
    characters = len(set("".join([*plain, alphabet]).replace(" ", "")))
    if not plain or num_tokens < characters + 2:
        raise ConfigError(
            f"num_tokens={num_tokens} for {len(plain)} texts with {characters} characters: at least {characters + 2} "
            "are needed. Raise num_tokens."
        )
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    options: dict[str, Any] = {
        "vocab_size": num_tokens,
        "model_type": kind,
        "character_coverage": 1.0,
        "required_chars": alphabet,
        "hard_vocab_limit": False,
        "normalization_rule_name": "identity",
        "unk_id": BLANK,
        "bos_id": -1,
        "eos_id": -1,
        "pad_id": -1,
        "num_threads": 1,
        "minloglevel": 2,
    }
    try:
        SentencePieceTrainer.train(sentence_iterator=iter(plain), model_writer=model, **options)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        raise ConfigError(f"sentencepiece cannot make num_tokens={num_tokens} of these texts: {reason}") from error
    return build("tokens/sentencepiece", model=base64.b64encode(model.getvalue()).decode(), spelling=spelling)


def _check_spelling(spelling: str) -> None:
    if spelling not in SPELLINGS:
        raise ConfigError(f"spelling={spelling!r} is none of {', '.join(SPELLINGS)}.")


def _spelled(texts: Sequence[str], spelling: str) -> list[str]:
    """Normalised texts in letters or phones."""
    if spelling == "letters":
        return list(texts)
    from speechtools.keyword.phones import spoken  # needs a package of an extra

    return spoken(texts)


def _nearest(lacking: Sequence[str], tokens: SentencePieceTokens) -> str:
    """What to write instead of characters that the model lacks."""
    plain = {c: unicodedata.normalize("NFKD", c)[0] for c in lacking}
    pairs = [f"{near!r} instead of {c!r}" for c, near in plain.items() if near != c and near in tokens.alphabet]
    if any(c.isdigit() for c in lacking):
        pairs.append("numbers as words")
    return f" Write {', '.join(pairs)}." if pairs else f" It has {tokens.alphabet}."
