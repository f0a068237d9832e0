"""A small binding to espeak-ng, through the wheel ``espeakng-loader``, which contains the library and the voices.

espeak-ng keeps state between utterances (the phase of its flutter, its filters, its random numbers), and no call of its
interface resets all of it. The library is therefore loaded again for every utterance, which costs about a millisecond,
and an utterance depends only on its arguments.
"""

import _ctypes
import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import SpeechtoolsError

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000  # without it, espeak-ng ends the process when its data are missing
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_IPA = 2
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_LONGEST_DATA_PATH = 150  # characters; espeak-ng silently cuts a path longer than its buffer of 160
_REINSTALL = "Reinstall it: pip install --force-reinstall espeakng-loader"
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Synthesizer:
    """espeak-ng as a stateless function from text to samples.

    Several synthesizers and threads may be used at once (they take turns), and so may forked processes.

    Raises
    ------
    SpeechtoolsError
        The package espeakng-loader is not installed, or its library or voices cannot be read.

    Examples
    --------
    >>> synthesizer = Synthesizer()
    >>> samples = synthesizer.speak("Seven boats are waiting outside the harbour.", voice="en-us+f3")
    >>> samples.dtype, synthesizer.sample_rate, 2.0 < len(samples) / synthesizer.sample_rate < 4.0
    (dtype('float32'), 22050, True)
    """

    sample_rate = 22050  # Hz, espeak-ng's own
    _lock = threading.Lock()

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError as error:
            raise SpeechtoolsError(
                "Synthetic speech needs the package espeakng-loader, which is not installed. "
                'Install it with: pip install "speechtools[recipes]"'
            ) from error
        self._library_path = Path(espeakng_loader.get_library_path())
        self._data_path = Path(espeakng_loader.get_data_path())
        for path in (self._library_path, self._data_path / "phontab"):
            if not path.is_file():
                raise SpeechtoolsError(f"The installed espeakng-loader has no {path}. {_REINSTALL}")
        self._variants = {path.name for path in (self._data_path / "voices" / "!v").iterdir()}

    def speak(
        self, text: str, voice: str = "en-us", pitch: int = 50, pitch_range: int = 50, rate: int = 175, seed: int = 1
    ) -> np.ndarray:
        """Speak a text.

        Parameters
        ----------
        text : str
            What to say.
        voice : str
            A language of espeak-ng, optionally with a variant after a plus sign, as in ``"en-gb-scotland+f2"``.
        pitch : int
            0 to 99; 50 is the variant's own. The fundamental is about 2 ** ((pitch - 50) / 50) times the variant's.
        pitch_range : int
            0 (monotone) to 99; 50 is normal.
        rate : int
            Words per minute, 80 to 450.
        seed : int
            Seeds the noise in breathy voices.

        Returns
        -------
        numpy.ndarray
            float32 samples in [-1, 1) at ``sample_rate``, shape (samples,).
            A text without anything to pronounce gives a few milliseconds of silence.

        Raises
        ------
        SpeechtoolsError
            The voice is unknown, a number is out of range, or espeak-ng fails.
        """
        limits = (("pitch", pitch, 0, 99), ("pitch_range", pitch_range, 0, 99), ("rate", rate, 80, 450))
        for name, value, low, high in limits:
            check_number(name, value, low, high)
        blocks: list[bytes] = []
        failures: list[BaseException] = []

        def receive(samples, count, events):
            try:
                if samples and count > 0:
                    blocks.append(ctypes.string_at(samples, 2 * count))
                return 0
            except BaseException as error:  # ctypes would only print it; it is raised below
                failures.append(error)
                return 1  # stop speaking

        callback = _CALLBACK(receive)
        with self._started(voice) as library:
            library.espeak_SetSynthCallback(callback)
            settings = {_RATE: rate, _VOLUME: 60, _PITCH: pitch, _RANGE: pitch_range, _WORD_GAP: 0}
            for parameter, value in settings.items():
                _check(library.espeak_SetParameter(parameter, int(value), 0), "set a parameter")
            library.espeak_ng_SetRandSeed(ctypes.c_long(1 + seed % (2**31 - 2)))
            encoded = text.encode()
            status = library.espeak_Synth(
                encoded, ctypes.c_size_t(len(encoded) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
            )
        if failures:
            raise failures[0]
        _check(status, f"speak {text!r}")
        return np.frombuffer(b"".join(blocks), dtype=np.int16).astype(np.float32) / 32768.0  # (samples,)

    def phonemes(self, texts: Sequence[str], voice: str = "en-us") -> list[str]:
        """How each text is spoken, in the International Phonetic Alphabet, with stresses.

        Parameters
        ----------
        texts : sequence of str
        voice : str
            As in :meth:`speak`.

        Raises
        ------
        SpeechtoolsError
            The voice is unknown.

        Examples
        --------
        >>> Synthesizer().phonemes(["hello", "seven boats"])
        ['həlˈoʊ', 'sˈɛvən bˈoʊts']
        """
        spoken = []
        with self._started(voice) as library:
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            for text in texts:
                rest, parts = ctypes.c_char_p(text.encode()), []
                while rest.value:  # a call takes one clause
                    parts.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, _IPA) or b"")
                spoken.append(" ".join(part.decode() for part in parts).strip())
        return spoken

    @contextlib.contextmanager
    def _started(self, voice: str) -> Iterator[ctypes.CDLL]:
        """The library, started with a voice."""
        unknown_voice = SpeechtoolsError(
            f"espeak-ng has no voice {voice!r}. A voice is a language ('en-us', 'en-gb-scotland', …), optionally with "
            f"a variant ('en-us+f3'): one of the files in {self._data_path / 'voices/!v'}."
        )
        variant = voice.partition("+")[2]
        if variant and variant not in self._variants:  # espeak-ng would silently ignore it
            raise unknown_voice
        with self._lock, self._fresh_library() as (library, data_path):
            initialized = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data_path), _DONT_EXIT)
            if initialized != self.sample_rate:
                raise SpeechtoolsError(f"espeak-ng could not start from {data_path} ({initialized}). {_REINSTALL}")
            try:
                if library.espeak_SetVoiceByName(voice.encode()) != 0:
                    raise unknown_voice
                yield library
            finally:
                library.espeak_Terminate()

    @contextlib.contextmanager
    def _fresh_library(self) -> Iterator[tuple[ctypes.CDLL, Path]]:
        """The library in its original state, and the folder of its data by a short path."""
        with tempfile.TemporaryDirectory(prefix="speechtools-") as folder, contextlib.ExitStack() as stack:
            library, data_path = ctypes.CDLL(str(self._library_path)), self._data_path
            if library.espeak_ng_GetSampleRate() != 0:
                # Another text-to-speech package in this process uses the same file: load a copy instead.
                _unload(library)
                library = ctypes.CDLL(shutil.copy(self._library_path, folder))
            stack.callback(_unload, library)
            if len(os.fsencode(data_path)) > _LONGEST_DATA_PATH:
                data_path = Path(folder, "espeak-ng-data")
                data_path.symlink_to(self._data_path, target_is_directory=True)
            yield library, data_path


def _check(status: int, doing: str) -> None:
    if status != 0:
        raise SpeechtoolsError(f"espeak-ng could not {doing}: error {status}. Check text and voice.")


def _unload(library: ctypes.CDLL) -> None:
    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)
