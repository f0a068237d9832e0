"""The encoder of stacked frames: pooling by the book, stacking, mistakes; see also the contract of the kind."""

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker.attentive import POOLINGS, AttentiveLSTM


def by_the_book(encoder, frames):
    """Embed one utterance (frames, size) in float64."""
    short = -len(frames) % encoder.stack
    steps = torch.cat([frames, frames.new_zeros(short, frames.shape[1])]).reshape(-1, encoder.lstm.input_size)
    hidden = encoder.lstm(steps.unsqueeze(0))[0][0]
    if encoder.pooling == "last":
        pooled = hidden[-1]
    elif encoder.pooling == "mean":
        pooled = sum(hidden) / len(hidden)
    else:
        scores = [encoder.scores[2](torch.tanh(encoder.scores[0](step))) for step in hidden]
        weights = [torch.exp(score) for score in scores]
        pooled = sum(weight * step for weight, step in zip(weights, hidden, strict=True)) / sum(weights)
    embedded = encoder.linear(pooled)
    return embedded / embedded.norm()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("stack", [1, 3])
def test_the_d_vector_is_that_of_a_plain_loop(pooling, stack):
    torch.manual_seed(0)
    encoder = AttentiveLSTM(5, 8, 2, 6, stack, pooling).double()
    feats = torch.randn(3, 20, 5, dtype=torch.float64)
    counts = [20, 13, 1]
    embedded = encoder(feats, torch.tensor(counts, dtype=torch.float64) / 20)
    for row, frames, count in zip(embedded, feats, counts, strict=True):
        assert torch.allclose(row, by_the_book(encoder, frames[:count]), atol=1e-6 if pooling == "attention" else 1e-12)
    assert encoder.embedding_size == 6


def test_mistakes():
    with pytest.raises(ConfigError, match="stack=0"):
        AttentiveLSTM(stack=0)
    with pytest.raises(ConfigError, match="pooling='max' is unknown. Use attention, mean, last"):
        AttentiveLSTM(pooling="max")
    with pytest.raises(ConfigError, match="dropout=1.0 must be"):
        AttentiveLSTM(dropout=1.0)


def test_dropout_is_for_training_alone():
    torch.manual_seed(0)
    encoder, feats = AttentiveLSTM(5, 8, 2, 6, dropout=0.5), torch.randn(3, 20, 5)
    assert not torch.allclose(encoder(feats), encoder(feats), atol=1e-3)
    without = AttentiveLSTM(5, 8, 2, 6)
    without.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder.eval()(feats), without.eval()(feats))
