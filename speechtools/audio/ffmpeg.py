"""Decode with the program ``ffmpeg`` what libsndfile does not read, such as m4a, aac, webm, amr and wma."""

import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from speechtools.core.errors import AudioError

#: ffmpeg is ended if it writes nothing for this long.
TIME_LIMIT_SECONDS = 60.0
_BLOCK_BYTES = 2**20
_REMEDY = "Convert it to WAV or FLAC, or leave it out."
# Containers only: a playlist or a script of ffmpeg's could name other files and addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,loas,amr,amrnb,amrwb,asf,asf_o,ac3,eac3,ape,wv,tta,mpc,mpc8,dsf,dts,"
    "flv,avi,ogg,qcp,rm,mpeg,mpegts,mp3,wav,w64,aiff,au,caf,flac,gsm,nistsphere,voc"
)


def is_available() -> bool:
    """Whether there is an ``ffmpeg`` on PATH."""
    return shutil.which("ffmpeg") is not None


class FFmpegStream:
    """The first sound track of a file, as float32 at its own rate, in bounded memory.

    Parameters
    ----------
    path : str or Path
        A file of a container that ffmpeg knows. The name is never taken for an option or an address.
    name : str
        The name of the recording in messages.

    Raises
    ------
    AudioError
        There is no ffmpeg, it cannot read the file, or the file has no sound or is damaged.
    """

    frames = None  # known after decoding only

    def __init__(self, path: str | Path, name: str):
        self.name = name
        program = shutil.which("ffmpeg")
        if program is None:
            raise AudioError(f"{name} needs ffmpeg. Install ffmpeg, or convert the file to WAV or FLAC.")
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        # AU is the simplest header that states the rate and may leave the length open.
        self._process = subprocess.Popen(
            [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-xerror"]
            + ["-protocol_whitelist", "file,pipe", "-format_whitelist", _CONTAINERS]
            + ["-i", "file:" + os.path.abspath(path), "-map", "0:a:0", "-vn", "-sn", "-dn"]
            + ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        try:
            header = self._read(24)
            if len(header) < 24:
                self._check_end()
                raise AudioError(f"{name} contains no sound (ffmpeg). {_REMEDY}")
            magic, offset, _, encoding, rate, self.channels = struct.unpack(">4s5I", header)
            self.rate: float = rate
            if magic != b".snd" or encoding != 6 or self.rate == 0 or self.channels == 0:
                raise AudioError(f"{name}: ffmpeg returned no audio. Check the program {program}.")
            self._read(offset - 24)
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the decoded frames, (frames, channels) each."""
        size = 4 * self.channels
        rest = b""
        while data := self._read(_BLOCK_BYTES // size * size):
            data = rest + data
            whole = len(data) - len(data) % size
            rest = data[whole:]
            if whole:
                yield np.frombuffer(data[:whole], dtype=">f4").astype(np.float32).reshape(-1, self.channels)
        self._check_end()

    def close(self) -> None:
        """End ffmpeg."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        has_expired = threading.Event()

        def expire() -> None:
            has_expired.set()
            self._process.kill()

        timer = threading.Timer(TIME_LIMIT_SECONDS, expire)
        timer.daemon = True
        timer.start()
        try:
            data = self._process.stdout.read(size)
        finally:
            timer.cancel()
        if has_expired.is_set():
            raise AudioError(f"{self.name}: ffmpeg wrote nothing for {TIME_LIMIT_SECONDS:g} s. {_REMEDY}")
        return data

    def _check_end(self) -> None:
        """Raise an error if ffmpeg reported one. It decodes damaged files as far as it can."""
        try:
            status = self._process.wait(TIME_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AudioError(f"{self.name}: ffmpeg does not end. {_REMEDY}") from None
        self._errors.seek(0)
        lines = self._errors.read(10_000).decode(errors="replace").splitlines()
        if status or lines:
            reason = lines[0].split("] ")[-1].strip().rstrip(".") if lines else f"exit status {status}"
            raise AudioError(f"{self.name} cannot be read as audio, or is damaged (ffmpeg: {reason}). {_REMEDY}")
