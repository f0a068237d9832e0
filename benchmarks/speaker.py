"""Speed of TI-SV/GE2E, each against a plain reference in the same run: ``python benchmarks/speaker.py``.

``step``: a training step of the recipe with ``ge2e.yaml`` (loader, features, encoder, loss, backward, optimiser),
against forward and backward of the encoder alone on features in memory. ``dvectors``: the d-vectors of 100 utterances
of 4 to 60 s against one window at a time, with the paper's two encoders; for the larger, 2 utterances on a CPU. Both
sides are timed in turns, and the best time of each counts; one window at a time takes minutes and is timed once.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from speaker_batches import SMALL, write_audio, write_manifest
from timing import in_turns, print_table

from speechtools.audio.features import LogMel
from speechtools.core.memory import keep_freed_memory
from speechtools.speaker import dvectors
from speechtools.speaker.batches import SpeakerBatches, StepSampler
from speechtools.speaker.encoders import LSTMP, folded
from speechtools.speaker.store import SpeakerStore
from speechtools.training.loaders import make_loader

RECIPE = Path(__file__).parents[1] / "recipes" / "TI-SV" / "GE2E"
#: hidden nodes, projection, and how many utterances, for the paper's encoders of keywords and of free text (section 3)
ENCODERS = {"128/64": (128, 64, 100), "768/256": (768, 256, 2)}


def wait(device: str) -> None:
    """Wait until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize()


@torch.inference_mode()
def one_at_a_time(encoder, feats, window: int = 160, hop: int = 80) -> list[torch.Tensor]:
    """Compute the d-vectors one window after the other (section 3.2)."""
    dvectors_of = []
    for frames in feats:
        starts = dvectors.window_starts(len(frames), window, hop)
        dvectors_of.append(torch.cat([encoder(frames[start : start + window].unsqueeze(0)) for start in starts]))
    return dvectors_of


@torch.inference_mode()
def batched(encoder, feats) -> list[torch.Tensor]:
    """Compute the d-vectors like SpeakerEncoder."""
    return dvectors.window_dvectors(encoder, feats)


def bench_step(device: str, repeats: int):
    """Return a row: the encoder alone and a whole step, in ms."""
    with open(RECIPE / "hparams" / "ge2e.yaml", encoding="utf-8") as stream:
        hparams = load_hyperpyyaml(stream)
    features, encoder, loss = (hparams["modules"][name].to(device) for name in ("features", "encoder", "loss"))
    optimizer = hparams["opt_class"]([*encoder.parameters(), *loss.parameters()])
    with tempfile.TemporaryDirectory() as name:
        write_audio(Path(name, "shards"), SMALL)
        store = SpeakerStore(write_manifest(Path(name), SMALL))
        # Both sides get utterances of one length, the middle of the recipe's range.
        length = features.num_samples((hparams["min_frames"] + hparams["max_frames"]) // 2)
        shape = hparams["speakers_per_batch"], hparams["utterances_per_speaker"]
        batches = SpeakerBatches(store, *shape, min_samples=length, max_samples=length)
        loader = iter(make_loader(batches, steps=StepSampler(1_000_000), num_workers=hparams["num_workers"]))
        with torch.no_grad():
            ready = features(batches[0].to(device).wavs)
        # (speakers * utterances, frames, mels)

        def whole():
            batch = next(loader).to(device)
            with torch.no_grad():
                feats = features(batch.wavs)
            embedded = encoder(feats).view(*shape, -1)
            optimizer.zero_grad()
            loss(embedded, batch.speakers).backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), hparams["max_grad_norm"])
            optimizer.step()
            wait(device)

        def bare():
            encoder.zero_grad()
            encoder(ready).sum().backward()
            wait(device)

        bare_s, whole_s = in_turns(bare, whole, repeats=repeats)
    what = f"training step, {shape[0]} × {shape[1]} × {ready.shape[1]} frames, encoder 128/64"
    return what, f"{1000 * bare_s:.0f} ms", f"{1000 * whole_s:.0f} ms", f"{whole_s / bare_s:.2f}×", "≤ 1.10×"


def bench_dvectors(device: str, repeats: int):
    """Yield rows: utterances in windows, one at a time and batched."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    features = LogMel().to(device)
    feats = [features(torch.randn(1, round(16000 * s), device=device))[0] for s in rng.uniform(4, 60, 100)]
    for name, (hidden, projection, count) in ENCODERS.items():
        subset = feats[:count] if device == "cpu" else feats
        encoder = LSTMP(40, hidden, projection).to(device).eval()
        fast_encoder = folded(encoder) if device == "cpu" and hidden <= 256 else encoder
        # Takes minutes, so it is timed once.
        start = time.perf_counter()
        plain = one_at_a_time(encoder, subset)
        wait(device)
        plain_s = time.perf_counter() - start
        (batched_s,) = in_turns(partial(batched, fast_encoder, subset), repeats=repeats)
        difference = max(float((a - b).abs().max()) for a, b in zip(plain, batched(fast_encoder, subset), strict=True))
        windows = sum(map(len, plain))
        what = f"d-vectors of {len(subset)} utterances, {windows} windows, encoder {name}; differ by {difference:.0e}"
        yield what, f"{plain_s:.2f} s", f"{batched_s:.2f} s", f"{plain_s / batched_s:.2f}×", "≥ 4×"


def main() -> None:
    """Run the selected benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["step", "dvectors"], default=["step", "dvectors"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as in training.start()
    where = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{arguments.threads} thread(s)"
    rows = [bench_step(arguments.device, arguments.repeats)] if "step" in arguments.only else []
    rows += bench_dvectors(arguments.device, arguments.repeats) if "dvectors" in arguments.only else []
    print_table(f"torch {torch.__version__}, {where}", rows)


if __name__ == "__main__":
    main()
