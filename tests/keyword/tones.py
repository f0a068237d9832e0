"""A detector that hears tones: each token is a tone, so that a test can write what is spoken."""

import numpy as np
import torch
from torch import nn

import speechtools
from speechtools.core.model_folder import write_model
from speechtools.core.registry import plugin
from speechtools.keyword.tokens import train_tokens

RATE = 16000
TEXTS = ["ok google", "hey computer", "snow", "what's the time"]
#: Steps of 30 ms that a tone lasts, and the frames of 10 ms in a step.
_STEPS, STRIDE = 3, 3
#: The filter of token 1.
_LOWEST = 8


@plugin("detector/tones")
class ToneDetector(nn.Module):
    """The loudest of the filters from ``_LOWEST`` on is the token; silence is the blank."""

    def __init__(self, input_size: int = 40, num_tokens: int = 29, certainty: float = 6.0):
        super().__init__()
        self.stride, self.num_tokens = STRIDE, num_tokens
        self.certainty = nn.Parameter(torch.tensor(certainty))

    def start(self, batch=1):
        return torch.zeros(batch, 0, 40)

    def num_steps(self, frames):
        return frames // self.stride

    def forward(self, feats, lens=None):
        return self.stream(feats, self.start(len(feats)))[0]

    def stream(self, feats, state):
        frames = torch.cat([state.to(feats), feats], dim=1)
        steps = frames.shape[1] // self.stride
        used, rest = frames[:, : steps * self.stride], frames[:, steps * self.stride :]
        energies = used.reshape(used.shape[0], -1, self.stride, used.shape[2]).mean(dim=2)
        # (batch, steps, filters)
        bands = energies[:, :, _LOWEST : _LOWEST + self.num_tokens - 1]
        silence = 0 * bands[:, :, :1]
        logits = self.certainty * (4 * torch.cat([silence, bands], dim=2)).softmax(dim=2)
        # (batch, steps, num_tokens): about certainty for the loudest filter, or for the blank if none is above 0
        return logits.log_softmax(dim=2), rest


def tokens():
    return train_tokens(TEXTS)


def write_detector(folder, threshold=0.5, **values):
    """Write the `pretrained` folder of a detector of tones."""
    token_model = tokens()
    net = values.pop("detector", None) or speechtools.build("detector/tones", num_tokens=len(token_model))
    entries = {"sample_rate": RATE, "features": speechtools.build("features/log-mel"), "tokens": token_model}
    entries |= {"detector": net, "threshold": threshold} | values
    return write_model(folder, entries, {"detector": net}, {}, "# A test\n", "KeywordDetector")


def spoken(text, seed=0):
    """Samples (samples,) that spell a text in tones."""
    features = speechtools.build("features/log-mel")
    frequencies = np.arange(257) * RATE / 512
    centres = (frequencies[:, None] * features.filters.numpy()).sum(axis=0) / features.filters.numpy().sum(axis=0)
    # (filters,) Hz
    time = np.arange(_STEPS * STRIDE * 160) / RATE
    parts = []
    for token in tokens().encode(text):
        tone = 0.2 * np.sin(2 * np.pi * centres[_LOWEST + token - 1] * time) * np.hanning(len(time)) ** 0.2
        parts += [tone, np.zeros(960)]
    samples = np.concatenate(parts)
    return (samples + 1e-4 * np.random.default_rng(seed).standard_normal(len(samples))).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)
