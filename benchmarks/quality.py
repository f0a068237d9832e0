"""Speed and memory of Quality-Net, each against a plain reference in the same run: ``python benchmarks/quality.py``.

Both sides are timed in turns, and the best time of each counts. ``--only step epoch …`` selects benchmarks.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pesq_labels import bench_labels
from timing import in_turns, print_table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.optim.swa_utils import AveragedModel

from speechtools import training
from speechtools.audio.features import Magnitude
from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.memory import keep_freed_memory
from speechtools.corpora.builtin import builtin
from speechtools.quality.net import QualityBLSTM
from speechtools.quality.objective import quality_objective
from speechtools.training.loaders import LengthBatchSampler

RECIPE = Path(__file__).parents[1] / "recipes" / "TIMIT" / "quality" / "train.py"
RATE = 16000
TRAINING = {
    "scale": "raw_nb",
    "alpha": 1.0,
    "frame_reduction": "sum",
    "input_dropout": 0.0,
    "recurrent_max_norm": None,
    "lr": 1e-4,
    "lr_decay": 1.0,
}


class PackedQualityNet(nn.Module):
    """The same model with one bidirectional LSTM over a packed sequence."""

    def __init__(self, net: QualityBLSTM):
        super().__init__()
        one = net.lstm_forward
        self.lstm = nn.LSTM(one.input_size, one.hidden_size, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for lstm, suffix in ((net.lstm_forward, ""), (net.lstm_backward, "_reverse")):
                for name, parameter in lstm.named_parameters():
                    getattr(self.lstm, name + suffix).copy_(parameter)
        self.linear, self.output = net.linear, net.output

    def forward(self, feats, lens):
        """Return scores (batch,) and frame scores (batch, time) of feats (batch, time, input_size)."""
        counts = frame_counts(feats, lens)
        packed = pack_padded_sequence(feats, counts.cpu(), batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=feats.shape[1])
        frame_scores = self.output(nn.functional.elu(self.linear(hidden))).squeeze(2)
        frame_scores = frame_scores.masked_fill(~length_mask(counts, feats.shape[1]), 0.0)
        return frame_scores.sum(1) / counts, frame_scores


def train_step(net, optimizer, feats, lens, target):
    """Forward, backward and optimizer step, with the gradient clipped at norm 5 as in the recipe."""
    optimizer.zero_grad(set_to_none=True)
    loss = quality_objective(*net(feats, lens), target, lens)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimizer.step()


def bare_epoch(net, optimizer, batches):
    """Train on batches in memory."""
    for feats, lens, target in batches:
        train_step(net, optimizer, feats, lens, target)


def bench_step() -> list[tuple]:
    """A training step on 16 utterances of 105 to 210 frames, against packed sequences."""
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        net = QualityBLSTM()
        packed = PackedQualityNet(net)
        feats, lens, target = torch.rand(16, 210, 257), torch.linspace(0.5, 1.0, 16), 4 * torch.rand(16)
        difference = max(
            float((a - b).detach().abs().max()) for a, b in zip(net(feats, lens), packed(feats, lens), strict=True)
        )
        steps = [
            partial(train_step, model, torch.optim.RMSprop(model.parameters(), lr=0.0), feats, lens, target)
            for model in (net, packed)
        ]
        toolkit, plain = in_turns(*steps, repeats=20)
        what = f"training step, 16 utterances, {threads} thread(s); scores differ by {difference:.0e}"
        rows.append(_row(what, f"{1000 * plain:.0f} ms packed", f"{1000 * toolkit:.0f} ms", plain / toolkit, "≥ 3×"))
    return rows


def bench_epoch(num_utterances: int = 640) -> list[tuple]:
    """A training epoch of the recipe (files, features, Brain) against bare steps on the same batches in memory."""
    recipe = _recipe()
    rows = []
    utterances = list(builtin())[:num_utterances]
    items = [
        SimpleNamespace(ID=u.utt_id, path=u.path, score=2.5 + 0.1 * (n % 9), causes=None)
        for n, u in enumerate(utterances)
    ]
    dataset = recipe.dataio_prepare({"train": items}, RATE)["train"]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        batches = LengthBatchSampler([u.duration for u in utterances], 16)
        features, net = Magnitude(), QualityBLSTM()
        hparams = {"features": features, "quality": net, "averaged": AveragedModel(net), **TRAINING}
        brain = recipe.QualityBrain(
            {"features": features, "quality": net},
            lambda parameters: torch.optim.RMSprop(parameters, lr=1e-4),
            hparams,
            {"device": "cpu", "noprogressbar": True},
            train_batches=batches,
        )
        brain.init_optimizers()
        loader = training.make_loader(dataset, batches, num_workers=1)
        ready = []
        with torch.no_grad():
            batches.set_position(0)
            for batch in loader:
                wavs, lens = batch.wav
                ready.append((features(wavs, lens), features.frame_lens(lens, wavs.shape[1]), batch.score.float()))
        bare_net = QualityBLSTM()
        optimizer = torch.optim.RMSprop(bare_net.parameters(), lr=1e-4)

        bare = partial(bare_epoch, bare_net, optimizer, ready)
        whole, bare_s = in_turns(partial(brain._fit_train, loader, 0, False), bare, repeats=5)
        readers = f"{threads} thread(s) and {loader.num_workers} loader process(es)"
        what = f"training epoch of {num_utterances} utterances, {readers}"
        rows.append(_row(what, f"{bare_s:.2f} s bare steps", f"{whole:.2f} s", whole / bare_s, "≤ 1.15×"))
    return rows


def bench_scoring() -> list[tuple]:
    """Scoring 4 s waveforms in batches of 32 from memory, against the packed model and torch's own spectrogram."""
    from speechtools.inference import QualityNet

    rows = []
    model = QualityNet.from_hparams(run_opts={"device": "cpu"})
    packed = PackedQualityNet(model.mods["quality"])
    wavs, lens = 0.1 * torch.randn(32, 4 * RATE), torch.ones(32)
    window = torch.hamming_window(512)

    @torch.inference_mode()
    def plain():
        normal = wavs / wavs.abs().amax(1, keepdim=True)
        spectrum = torch.stft(normal, 512, 256, window=window, center=False, return_complex=True).abs()
        return packed((torch.log1p(spectrum) if model.features.log1p else spectrum).transpose(1, 2), lens)[0]

    @torch.inference_mode()
    def toolkit():
        return model.assess_batch(wavs)[0]

    for threads in (1, 2):
        torch.set_num_threads(threads)
        plain_s, toolkit_s = in_turns(plain, toolkit, repeats=15)
        speed = 32 * 4 / toolkit_s
        what = f"scoring 32 × 4 s from memory, {threads} thread(s): {speed:.0f}× real time"
        reach = "≥ 2000× real time" if threads == 1 else ""
        rows.append(
            _row(what, f"{1000 * plain_s:.0f} ms plain", f"{1000 * toolkit_s:.0f} ms", plain_s / toolkit_s, reach)
        )
    return rows


def bench_memory() -> list[tuple]:
    """The largest resident size of a process that trains an epoch on 5,000 utterances, its loader process included."""
    printed = subprocess.run(
        [sys.executable, __file__, "--train_on", "5000"], check=True, capture_output=True, text=True
    ).stdout
    sizes = json.loads(printed.splitlines()[-1])
    what = "training on 5,000 utterances of 3 s, main process + loader process"
    return [_row(what, "", f"{sizes['main']:.2f} + {sizes['loader']:.2f} GiB", None, "≤ 2 GiB")]


def train_on(num_utterances: int) -> None:
    """An epoch over so many distinct files, and the resident sizes in GiB as JSON."""
    recipe = _recipe()
    with tempfile.TemporaryDirectory() as name:
        import soundfile

        rng, items = np.random.default_rng(0), []
        for number in range(num_utterances):
            path = Path(name) / f"{number}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(3 * RATE), RATE)
            items.append(SimpleNamespace(ID=str(number), path=path, score=2.5, causes=None))
        dataset = recipe.dataio_prepare({"train": items}, RATE)["train"]
        batches = LengthBatchSampler([3.0] * num_utterances, 16)
        features, net = Magnitude(), QualityBLSTM()
        brain = recipe.QualityBrain(
            {"features": features, "quality": net},
            lambda parameters: torch.optim.RMSprop(parameters, lr=1e-4),
            {"features": features, "quality": net, "averaged": AveragedModel(net), **TRAINING},
            {"device": "cpu", "noprogressbar": True},
            train_batches=batches,
        )
        brain.init_optimizers()
        loader = training.make_loader(dataset, batches, num_workers=1)
        brain._fit_train(loader, 0, False)
        del loader
    sizes = {
        who: resource.getrusage(which).ru_maxrss / 2**20
        for who, which in (("main", resource.RUSAGE_SELF), ("loader", resource.RUSAGE_CHILDREN))
    }
    print(json.dumps(sizes))


def _recipe():
    spec = importlib.util.spec_from_file_location("quality_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(what: str, plain: str, toolkit: str, ratio: float | None, target: str) -> tuple[str, ...]:
    return what, plain, toolkit, "" if ratio is None else f"{ratio:.2f}×", target


BENCHMARKS = {
    "step": bench_step,
    "epoch": bench_epoch,
    "scoring": bench_scoring,
    "labels": bench_labels,
    "memory": bench_memory,
}


def main() -> None:
    """Run the selected benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--train_on", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()  # as in training.start() and on the command line
    if arguments.train_on:
        train_on(arguments.train_on)
        return
    rows = (row for name in arguments.only for row in BENCHMARKS[name]())
    print_table(f"torch {torch.__version__}, {torch.get_num_threads()} cores", rows)


if __name__ == "__main__":
    main()
