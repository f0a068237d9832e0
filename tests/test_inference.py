"""Memory that the public interfaces take for a long file."""

import json
import os
import subprocess
import sys

import pytest
import soundfile

from tests.enhancement.test_inference import write_model as write_enhancer
from tests.speaker.test_inference import write_model as write_encoder

#: Prints how much higher the peak of the memory (MB) is during a long file than during a short one, by interface.
MEASURE = """
import json, pathlib, sys
from speechtools.inference import QualityNet, SpeakerEncoder, SpeechEnhancer

def peak(work, path):
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    work(path)
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

short, long, *models = sys.argv[1:]
rises = []
for interface, method, model in zip(
    (QualityNet, SpeakerEncoder, SpeechEnhancer), ("assess_file", "encode_file", "enhance_file"), models, strict=True
):
    work = getattr(interface.from_hparams(model, run_opts={"device": "cpu"}), method)
    rises.append(-peak(work, short) + peak(work, long))
print(json.dumps(rises))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory is measured on Linux")
def test_a_long_file_takes_little_more_memory_than_a_short_one(pretrained, tone, tmp_path):
    minute = tone(60.0)
    paths = [tmp_path / "short.wav", tmp_path / "long.wav"]
    for path, minutes in zip(paths, (6, 20), strict=True):  # longer than a chunk
        with soundfile.SoundFile(path, "w", 16000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
    models = [pretrained, write_encoder(tmp_path / "encoder"), write_enhancer(tmp_path / "enhancer")]
    command = [sys.executable, "-c", MEASURE, *map(str, [*paths, *models])]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # freed memory is returned
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=140, env=environment)
    added = 14 * minute.nbytes / 2**20  # MB of samples
    quality, speaker, enhanced = json.loads(result.stdout)
    assert max(quality, speaker) < 2 * added, result.stdout
    assert enhanced < 4 * added, "the enhanced recording is returned, and joined from its chunks"
