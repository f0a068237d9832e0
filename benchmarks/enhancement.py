"""Speed of the enhancer: ``python benchmarks/enhancement.py``.

Enhancing is told in times of real time, on one thread; a training step against the same net over packed sequences, as
everyone writes it, in turns in one run: other work on the machine only adds to the best time of each.
"""

import argparse

import torch
from quality import in_turns
from rich.console import Console
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechtools.audio.frames import frame_counts
from speechtools.audio.spectrum import Spectrum
from speechtools.core.memory import keep_freed_memory
from speechtools.enhancement.net import EnhancerBLSTM
from speechtools.enhancement.objective import enhancement_objective
from speechtools.inference import SpeechEnhancer

RATE = 16000


class PackedEnhancer(nn.Module):
    """The same sizes with one packed bidirectional LSTM."""

    def __init__(self, net: EnhancerBLSTM):
        super().__init__()
        one = net.lstms_forward[0]
        self.lstm = nn.LSTM(
            one.input_size, one.hidden_size, len(net.lstms_forward), batch_first=True, bidirectional=True
        )
        self.output = net.output

    def forward(self, feats, lens):
        """Masks of padded magnitudes; the statistics of the level are left out, which is to its advantage."""
        counts = frame_counts(feats, lens)
        packed = pack_padded_sequence(torch.log(feats + 0.01), counts, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=feats.shape[1])
        return torch.sigmoid(self.output(hidden))


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a `pretrained` folder; default: the model of the package")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    console = Console(soft_wrap=True)

    enhancer = SpeechEnhancer.from_hparams(*[arguments.model] * bool(arguments.model))
    seconds = 30
    samples = torch.randn(seconds * RATE).numpy()
    (took,) = in_turns(lambda: enhancer.enhance_waveforms([samples]), repeats=arguments.repeats)
    console.print(f"enhancing {seconds} s on 1 thread: {took:.3f} s, {seconds / took:.0f} times faster than real time")

    spectrum, net = Spectrum(), EnhancerBLSTM()
    lens = torch.linspace(0.6, 1.0, 16)
    clean, noise = torch.randn(2, 16, 4 * RATE)
    noisy, clean = spectrum(clean + noise, lens), spectrum(clean, lens)
    frame_lens = spectrum.frame_lens(lens, 4 * RATE)

    def step(model):
        enhancement_objective(model(noisy.abs(), frame_lens), clean, noisy, frame_lens).backward()

    packed = PackedEnhancer(net)
    ours, theirs = in_turns(lambda: step(net), lambda: step(packed), repeats=arguments.repeats)
    console.print(f"training step, 16 x 4 s: {ours:.3f} s, packed {theirs:.3f} s: {theirs / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
