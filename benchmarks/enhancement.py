"""Speed of the enhancer: ``python benchmarks/enhancement.py``.

Enhancement on one thread against real time, and a training step against the same network over packed sequences. Both
sides are timed in turns, and the best time of each counts.
"""

import argparse

import torch
from timing import in_turns, print_table
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
        """Masks of padded magnitudes; without the normalisation of the level, which favours them."""
        counts = frame_counts(feats, lens)
        packed = pack_padded_sequence(torch.log(feats + 0.01), counts, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=feats.shape[1])
        return torch.sigmoid(self.output(hidden))


def main() -> None:
    """Run both benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a `pretrained` folder; default: the bundled model")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    enhancer = SpeechEnhancer.from_hparams(*[arguments.model] * bool(arguments.model))
    seconds = 30
    samples = torch.randn(seconds * RATE).numpy()
    (took,) = in_turns(lambda: enhancer.enhance_waveforms([samples]), repeats=arguments.repeats)
    rows = [(f"enhancing {seconds} s", "", f"{took:.3f} s", f"{seconds / took:.0f}× real time", "")]

    spectrum, net = Spectrum(), EnhancerBLSTM()
    lens = torch.linspace(0.6, 1.0, 16)
    clean, noise = torch.randn(2, 16, 4 * RATE)
    noisy, clean = spectrum(clean + noise, lens), spectrum(clean, lens)
    frame_lens = spectrum.frame_lens(lens, 4 * RATE)

    def step(model):
        enhancement_objective(model(noisy.abs(), frame_lens), clean, noisy, frame_lens).backward()

    packed = PackedEnhancer(net)
    toolkit, plain = in_turns(lambda: step(net), lambda: step(packed), repeats=arguments.repeats)
    rows.append(("training step, 16 × 4 s", f"{plain:.3f} s packed", f"{toolkit:.3f} s", f"{plain / toolkit:.2f}×", ""))
    print_table(f"torch {torch.__version__}, 1 thread", rows)


if __name__ == "__main__":
    main()
