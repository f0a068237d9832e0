"""How English words are spoken, and tokens of phones."""

import sys

import pytest

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import build
from speechtools.keyword import phones
from speechtools.keyword.phones import spoken
from speechtools.keyword.tokens import train_tokens

TEXTS = ["ok google", "hey computer", "a smart mirror", "the snow boy said it's four"]


def test_words_are_spoken_without_stress_and_length():
    assert spoken(["smart mirror", "", "hello"]) == ["smɑɹt mɪɹɚ", "", "həloʊ"]
    assert all(c == " " or c.isalpha() for text in spoken(TEXTS) for c in text)


def test_a_word_is_spoken_in_the_same_way_everywhere():
    alone, among = spoken(["google"])[0], spoken(["ok google four"])[0]
    assert among.split()[1] == alone


def test_words_with_the_same_sound_have_the_same_tokens():
    tokens = train_tokens(TEXTS, spelling="phones")
    assert tokens.encode("four") == tokens.encode("For!") == tokens.encode("fore")
    assert tokens.decode(tokens.encode("snow boy")) == "snoʊ bɔɪ"
    assert tokens.spelling == "phones" and train_tokens(TEXTS).spelling == "letters"


def test_the_spelling_travels_with_the_model():
    tokens = train_tokens(TEXTS, spelling="phones")
    again = build("tokens/sentencepiece", model=tokens.model, spelling="phones")
    assert again.encode("hey google") == tokens.encode("hey google")


@pytest.mark.parametrize(
    "text, message", [("snöw", "'o' instead of 'ö'"), ("2nd", "numbers as words"), ("judge", "spoken with")]
)
def test_what_cannot_be_said(text, message):
    with pytest.raises(ConfigError, match=message):
        train_tokens(TEXTS, spelling="phones").encode(text)


def test_unknown_spelling():
    with pytest.raises(ConfigError, match="spelling='ipa' is none of letters, phones"):
        train_tokens(TEXTS, spelling="ipa")


def test_without_the_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    monkeypatch.setattr(phones, "find_spec", lambda name: None)
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[keywords\]"'):
        spoken(["hello"])
