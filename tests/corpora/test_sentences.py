"""The sentences of the built-in corpus."""

import itertools

from speechtools.corpora import sentences


def test_sentences_are_many_distinct_and_of_6_to_14_words():
    composed = list(itertools.islice(sentences.composed(0), 1000))
    texts = [*sentences.SA, *sentences.SX, *sentences.SI, *composed]
    assert (len(sentences.SA), len(sentences.SX), len(sentences.SI)) == (2, 131, 208)
    assert len({text.lower() for text in texts}) == len(texts)
    assert all(6 <= len(text.split()) <= 14 and text[0].isupper() and text[-1] in ".?" for text in texts)
    assert composed[:50] == list(itertools.islice(sentences.composed(0), 50))
    assert composed[:50] != list(itertools.islice(sentences.composed(1), 50))
