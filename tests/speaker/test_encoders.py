"""Encoders: gradient of the projection, folding, attention; see also the contract of the kind."""

import copy
import pickle

import pytest
import torch

from speechtools.speaker.encoders import LSTMP, LSTMAttentionEncoder, folded


def gradients(encoder):
    encoder.zero_grad()
    torch.manual_seed(1)
    (encoder(torch.randn(3, 20, 5)) * torch.randn(4)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in encoder.named_parameters()}


@pytest.mark.parametrize(
    "through",
    [
        lambda encoder: encoder,
        lambda encoder: pickle.loads(pickle.dumps(encoder)),
        lambda encoder: copy.deepcopy(encoder.requires_grad_(False)).requires_grad_(True),
    ],
)
def test_only_the_gradients_of_the_projections_are_halved(through):
    torch.manual_seed(0)
    half, full = LSTMP(5, 8, 4, 2), LSTMP(5, 8, 4, 2, projection_gradient_scale=1.0)
    full.load_state_dict(half.state_dict())
    halved, plain = gradients(through(half)), gradients(full)
    for name in plain:
        factor = 0.5 if "weight_hr" in name else 1.0
        assert torch.allclose(halved[name], factor * plain[name], rtol=1e-5), name


@pytest.mark.parametrize("layers", [1, 3])
def test_a_folded_projection_is_the_same_function(layers):
    torch.manual_seed(0)
    encoder = LSTMP(6, 16, 8, layers).double()
    feats = torch.randn(4, 70, 6, dtype=torch.float64)
    lens = torch.tensor([1.0, 0.5, 0.1, 0.9], dtype=torch.float64)
    assert (folded(encoder)(feats, lens) - encoder(feats, lens)).abs().max() < 1e-12
    assert folded(encoder).embedding_size == encoder.embedding_size == 8


def test_attention_weighs_the_frames():
    torch.manual_seed(0)
    encoder, feats = LSTMAttentionEncoder(5, 8, 2, 6), torch.randn(3, 20, 5)
    frames = encoder.linear(encoder.lstm(feats)[0]).tanh()
    weights = torch.softmax(frames @ encoder.attention.weight[0], dim=1)
    expected = torch.nn.functional.normalize(torch.einsum("bt,bte->be", weights, frames), dim=1)
    assert encoder(feats).allclose(expected, atol=1e-6) and encoder.embedding_size == 6
