"""Tokens: texts become numbers and texts again, and what a model lacks is refused."""

import pytest

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.keyword.tokens import BLANK, normalized, train_tokens

TEXTS = ["ok google", "hey computer", "what's the time", "the quick brown fox jumps over the lazy dog"]


@pytest.mark.parametrize("kind", ["char", "unigram", "bpe"])
def test_texts_become_tokens_and_texts_again(kind):
    tokens = train_tokens(TEXTS * 5, 40, kind)
    assert len(tokens) <= 40 and set("quickbrown'") <= set(tokens.alphabet)
    for text in ("hey google", "what's over the dog"):
        numbers = tokens.encode(text.upper() + "!")
        assert BLANK not in numbers and tokens.decode(numbers) == text
    again = speechtools.build("tokens/sentencepiece", model=tokens.model)
    assert again.encode("ok computer") == tokens.encode("ok computer") and len(again) == len(tokens)


def test_pieces_of_words_are_longer_than_characters():
    texts = ["hello there hello hello there", "there hello"] * 20
    by_kind = [len(train_tokens(texts, 20, kind).encode("hello there")) for kind in ("char", "bpe")]
    assert by_kind[0] == 12 and by_kind[1] < 9


def test_letters_that_no_text_has():
    tokens = train_tokens(["ok"], alphabet="xyz")
    assert tokens.alphabet == "koxyz" and tokens.decode(tokens.encode("zoo")) == "zoo"


def test_what_a_model_lacks_is_refused_with_the_nearest():
    tokens = train_tokens(["cafe snow"])
    with pytest.raises(ConfigError, match="'é'.*Write 'e' instead of 'é'"):
        tokens.encode("café")
    with pytest.raises(ConfigError, match="numbers as words"):
        tokens.encode("snow 7")
    with pytest.raises(ConfigError, match="'漢'.*acefnosw"):
        tokens.encode("漢")


def test_impossible_models():
    with pytest.raises(ConfigError, match="token_kind='words'"):
        train_tokens(TEXTS, kind="words")
    with pytest.raises(ConfigError, match="num_tokens=5 .* are needed"):
        train_tokens(TEXTS, 5)
    with pytest.raises(ConfigError, match="num_tokens"):
        train_tokens(["", "!"])
    for model in ("", "?", "aGVsbG8="):
        with pytest.raises(ConfigError, match="sentencepiece"):
            speechtools.build("tokens/sentencepiece", model=model)


def test_case_and_punctuation_do_not_count():
    assert normalized("  “Hey”, O’Brien -- it's FINE... ") == "hey o'brien it's fine"
    assert normalized("'tis ''") == "tis"
