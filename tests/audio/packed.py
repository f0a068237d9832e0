"""A reference for bidirectional LSTMs that are made of two one-directional ones."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def packed_blstm(forwards, backwards, feats, counts):
    """Apply the parameters of these layers in one packed bidirectional LSTM of torch."""
    lstm = nn.LSTM(feats.shape[2], forwards[0].hidden_size, len(forwards), batch_first=True, bidirectional=True)
    weights = {}
    for layers, suffix in ((forwards, ""), (backwards, "_reverse")):
        for number, layer in enumerate(layers):
            weights |= {name.replace("l0", f"l{number}") + suffix: value for name, value in layer.named_parameters()}
    packed = pack_padded_sequence(feats, counts, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(torch.func.functional_call(lstm, weights, (packed,))[0], batch_first=True)[0]
