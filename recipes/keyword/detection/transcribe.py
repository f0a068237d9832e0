"""Texts for recordings that have none: Moonshine (Jeffries et al., 2024) writes them, for a training of the detector.

    python transcribe.py /corpora/recordings /corpora/recordings-with-texts --model moonshine-tiny

The folder has Kaldi lists without a text. The output is a folder with the same lists, whose paths are absolute, and the
texts. What is longer than ``--max_seconds``, cannot be read or has too many or too few letters for its length is left
out: there the model invents words. Started again, it continues.

Needs ``pip install useful-moonshine-onnx``. ``--model`` is a folder with encoder_model.onnx and
decoder_model_merged.onnx, such as package/dist/model/tiny/quantized of the npm package @moonshine-ai/moonshine-js,
whose English models have the MIT licence; without it, the package downloads the model.
"""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from speechtools import audio
from speechtools.core.errors import AudioError, SpeechtoolsError
from speechtools.core.registry import build
from speechtools.keyword.tokens import normalized

RATE = 16000
#: Letters in a second of speech, fewest and most.
LETTERS_A_SECOND = (2.0, 25.0)
#: Tokens of Moonshine in a second, at most: more are repetitions.
TOKENS_A_SECOND = 6.5


def listener(folder: str | None, name: str):
    """A function from samples (samples,) to a text."""
    try:
        from moonshine_onnx import MoonshineOnnxModel, load_tokenizer
    except ImportError as error:
        raise SpeechtoolsError(f"{error}. Install it with pip install useful-moonshine-onnx.") from error
    if folder and not (Path(folder) / "decoder_model_merged.onnx").exists():
        raise SpeechtoolsError(
            f"--model={folder} has no decoder_model_merged.onnx. Pass the folder of a Moonshine model."
        )
    model, tokenizer = MoonshineOnnxModel(models_dir=folder, model_name=name), load_tokenizer()

    def hear(samples) -> str:
        most = round(TOKENS_A_SECOND * len(samples) / RATE) + 5
        return tokenizer.decode_batch(model.generate(samples[None], max_len=most))[0].strip()

    return hear


def is_plausible(text: str, seconds: float) -> bool:
    """Whether a text has as many letters as can be spoken in so many seconds.

    >>> is_plausible("she studied music", 1.5), is_plausible("the the the the the the", 0.5), is_plausible("", 2.0)
    (True, False, False)
    """
    low, high = LETTERS_A_SECOND
    return low * seconds <= len(normalized(text)) <= high * seconds


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_folder", help="Kaldi lists")
    parser.add_argument("output_folder", type=Path)
    parser.add_argument("--model", help="a folder with the model's two ONNX files")
    parser.add_argument("--model_name", default="tiny", choices=["tiny", "base"])
    parser.add_argument("--max_seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    hear = listener(arguments.model, arguments.model_name)
    arguments.output_folder.mkdir(parents=True, exist_ok=True)
    heard_path = arguments.output_folder / "heard.jsonl"
    heard = dict(map(json.loads, heard_path.read_text("utf-8").splitlines())) if heard_path.exists() else {}
    utterances = [
        u for u in build("corpus/kaldi", data_folder=arguments.data_folder) if u.duration <= arguments.max_seconds
    ]
    with heard_path.open("a", encoding="utf-8") as stream:
        for utterance in tqdm(utterances, "transcribing", disable=None):
            if utterance.utt_id in heard:
                continue
            try:
                heard[utterance.utt_id] = hear(audio.read(utterance.path, RATE))
            except AudioError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            stream.write(json.dumps([utterance.utt_id, heard[utterance.utt_id]]) + "\n")
            stream.flush()
    used = [u for u in utterances if is_plausible(heard.get(u.utt_id, ""), u.duration)]
    columns = {
        "wav.scp": lambda u: u.path.absolute(),
        "utt2spk": lambda u: u.speaker,
        "text": lambda u: " ".join(heard[u.utt_id].split()),
    }
    for name, column in columns.items():
        lines = "".join(f"{utterance.utt_id} {column(utterance)}\n" for utterance in used)
        (arguments.output_folder / name).write_text(lines, encoding="utf-8")
    print(f"{len(used)} of {len(utterances)} recordings have a text: {arguments.output_folder}")


if __name__ == "__main__":
    try:
        main()
    except SpeechtoolsError as error:
        sys.exit(f"error: {error}")
