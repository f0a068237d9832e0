"""Reverberation: ``degradation/reverb``, and impulse responses of rooms."""

import functools
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.installation import optional_package
from speechtools.core.registry import plugin
from speechtools.degradations.level import at_level_of
from speechtools.degradations.ranges import Range, check_range, draw

#: Speed of sound in m/s.
_SOUND = 343.0
#: Lengths, widths and heights of rooms in m, and the least distance of speaker and microphone from a wall.
_LENGTHS, _WIDTHS, _HEIGHTS, _FROM_WALL = (3.0, 10.0), (2.5, 8.0), (2.3, 4.0), 0.3
#: Reflections of a higher order are replaced by noise.
_MAX_ORDER = 20
#: A recorded response begins so many seconds before its largest sample, and ends so many after it.
_BEFORE, _AFTER = 0.001, 3.0
#: Responses that a process keeps in memory: simulated ones of about 40 kB at 16 kHz, recorded ones of up to 200 kB.
_CACHED, _CACHED_RECORDINGS = 1024, 256


@plugin("degradation/reverb")
class Reverberation:
    """Speech in a room: ``(clean, rng) -> reverberant``, both (samples,), of the same RMS level.

    The direct path has no delay. The responses are simulated by the image-source method (1) of pyroomacoustics (2),
    or recorded. A simulated room has a number, from which all else is drawn, so that it is computed once in a process.
    See :func:`simulate_response`.

    Parameters
    ----------
    rt60 : float or pair
        Seconds in which the reverberation falls by 60 dB.
    distance : float or pair
        Metres from the speaker to the microphone. They are less than 8 m apart.
    rooms : int
        Number of rooms to draw from.
    first_room : int
        Number of the first one. Choose ranges of numbers without overlap for training and test.
    folder : str
        Recorded impulse responses to draw from instead, whose first channels are read. The other parameters are then
        ignored. The direct path of a recorded response is its largest sample.
    sample_rate : int
        In Hz.

    References
    ----------
    (1) J. B. Allen and D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4),
        1979.
    (2) R. Scheibler et al., "Pyroomacoustics: a Python package for audio room simulation and array processing
        algorithms", ICASSP 2018.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> reverberant = Reverberation(rt60=0.3)(clean, np.random.default_rng(0))
    >>> bool(np.isclose(np.square(reverberant).mean(), np.square(clean).mean()))
    True
    """

    causes = ("reverberation",)
    #: What must be installed.
    needs = "the package pyroomacoustics, unless folder has recorded responses"

    def __init__(
        self,
        rt60: Range = (0.2, 0.9),
        distance: Range = (0.5, 3.0),
        rooms: int = 400,
        first_room: int = 0,
        folder: str = "",
        sample_rate: int = 16000,
    ):
        self.rt60 = check_range("rt60", rt60, 0.05, 5)
        self.distance = check_range("distance", distance, 0.1, 8)
        if rooms < 1 or first_room < 0:
            raise ConfigError(f"rooms={rooms} must be at least 1, and first_room={first_room} at least 0.")
        self.rooms, self.first_room, self.sample_rate = rooms, first_room, sample_rate
        self._files = _find_responses(folder) if folder else []
        if not folder:
            _pyroomacoustics()

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Put samples (samples,) into a random room."""
        from scipy.signal import oaconvolve  # slow to load

        if self._files:
            response, direct = _read_response(self._files[rng.integers(len(self._files))], self.sample_rate)
        else:
            number = self.first_room + int(rng.integers(self.rooms))
            response, direct = _simulated(number, self.rt60, self.distance, self.sample_rate), 0
        reverberant = oaconvolve(clean, response)[direct : direct + clean.size]
        return at_level_of(clean, reverberant)


def simulate_response(rng: np.random.Generator, rt60: float, distance: float, sample_rate: int = 16000) -> np.ndarray:
    """Draw a box-shaped room with a speaker and a microphone, and simulate its impulse response.

    The mean absorption of the walls follows from ``rt60`` by Eyring's formula, and each wall differs from it. Images up
    to order 20 give the first 0.1 to 0.2 s. Noise of the same level continues them, falling by 60 dB in ``rt60``
    seconds. The images' own decay, which differs from Eyring's, is corrected by an exponential gain. Walls and air
    absorb all frequencies alike.

    Parameters
    ----------
    rt60 : float
        In seconds.
    distance : float
        From the speaker to the microphone in metres, rounded to a whole number of samples of sound travel.

    Returns
    -------
    np.ndarray
        (samples,) float32, rt60 seconds long; the direct path is the first sample and is 1

    Raises
    ------
    SpeechtoolsError
        pyroomacoustics is not installed.
    """
    pra = _pyroomacoustics()
    # The direct path is then one sample: the interpolation of pyroomacoustics is exact there.
    travel = max(1, round(distance / _SOUND * sample_rate))
    size, source, microphone = _draw_positions(rng, travel * _SOUND / sample_rate)
    pairs = [(0, 1), (0, 2), (1, 2)]
    surface = 2 * sum(size[i] * size[j] for i, j in pairs)
    # Eyring: the exponent by which the walls reduce the energy, on average; shares of it differ by wall.
    exponent = 24 * np.log(10) * np.prod(size) / (_SOUND * surface * rt60)
    names = ["west", "east", "south", "north", "floor", "ceiling"]
    areas = np.repeat([size[1] * size[2], size[0] * size[2], size[0] * size[1]], 2)
    shares = rng.uniform(0.5, 1.5, 6)
    shares *= surface / (shares @ areas)
    absorption = 1 - np.exp(-exponent * shares)
    materials = {name: pra.Material(float(value)) for name, value in zip(names, absorption, strict=True)}
    # The images of order n are complete up to the time in which sound travels n + 1 times this length.
    radius = min(size[i] * size[j] / np.hypot(size[i], size[j]) for i, j in pairs)
    order = int(min(_MAX_ORDER, np.ceil(_SOUND * rt60 / radius)))
    room = pra.ShoeBox(size, fs=sample_rate, materials=materials, max_order=order)
    room.set_sound_speed(_SOUND)
    room.add_source(source)
    room.add_microphone(microphone)
    threads = pra.constants.get("num_threads")
    pra.constants.set("num_threads", 1)  # sums of several threads differ in their last digits
    try:
        room.compute_rir()
    finally:
        pra.constants.set("num_threads", threads)
    start = travel + pra.constants.get("frac_delay_length") // 2
    images = np.asarray(room.rir[0][0], dtype=np.float64)[start:]
    images = images[: round((order + 1) * radius / _SOUND * sample_rate) - travel] / images[0]
    return _continue(images, rt60, sample_rate, rng)


def reverberation_time(response: np.ndarray, sample_rate: int = 16000) -> float:
    """Measure RT60 in seconds: twice the time in which the backward integral (1) falls from -5 to -35 dB.

    The direct path, the first 3 ms, is left out.

    References
    ----------
    (1) M. R. Schroeder, "New method of measuring reverberation time", JASA 37(3), 1965; ISO 3382-2 (T30).

    Examples
    --------
    >>> time = np.arange(16000) / 16000
    >>> round(reverberation_time(np.random.default_rng(0).standard_normal(16000) * 10 ** (-3 * time / 0.4)), 1)
    0.4
    """
    energy = np.square(response[round(0.003 * sample_rate) :], dtype=np.float64)
    curve = 10 * np.log10(np.maximum(np.cumsum(energy[::-1])[::-1] / energy.sum(), 1e-12))
    fall = np.flatnonzero((curve <= -5) & (curve >= -35))
    slope = np.polyfit(fall / sample_rate, curve[fall], 1)[0]
    return float(-60 / slope)


def room_response(rng: np.random.Generator, rt60: float, sample_rate: int = 16000) -> np.ndarray:
    """Draw a room impulse response (samples,): a direct path, then noise that falls by 60 dB in ``rt60`` seconds."""
    time = np.arange(round(rt60 * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    # The direct path is 0 to 10 dB stronger than all that follows.
    tail *= 10 ** (-rng.uniform(0, 10) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return (tail / np.abs(tail).max() * 0.5).astype(np.float32)


def _pyroomacoustics():
    try:
        return optional_package("pyroomacoustics", "degradation/reverb", "degradations")
    except SpeechtoolsError as error:
        raise SpeechtoolsError(f"{error}, or pass folder, a folder of recorded impulse responses.") from error


@functools.lru_cache(maxsize=_CACHED)
def _simulated(number: int, rt60: Range, distance: Range, sample_rate: int) -> np.ndarray:
    """The response of the room with a number."""
    rng = np.random.default_rng([17, number])
    response = simulate_response(rng, draw(rt60, rng), draw(distance, rng), sample_rate)
    response.flags.writeable = False
    return response


def _draw_positions(rng: np.random.Generator, distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a room in which two points are a distance apart: its size, and both points, (3,) each, in metres."""
    while True:
        size = np.array([rng.uniform(*limits) for limits in (_LENGTHS, _WIDTHS, _HEIGHTS)])
        for _ in range(20):
            # The mouth of somebody who sits or stands.
            source = np.append(rng.uniform(_FROM_WALL, size[:2] - _FROM_WALL), rng.uniform(1.0, 1.8))
            direction = rng.standard_normal(3) * [1, 1, 0.3]
            microphone = source + distance * direction / np.linalg.norm(direction)
            if np.all(microphone > _FROM_WALL) and np.all(microphone < size - _FROM_WALL):
                return size, source, microphone


def _continue(images: np.ndarray, rt60: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Continue a response (samples,) with noise to rt60 seconds, and correct its decay."""
    time = np.arange(round(rt60 * sample_rate)) / sample_rate
    images = images[: time.size]
    # A line through the level of the images in dB, after the first 10 ms.
    window, first = round(0.005 * sample_rate), round(0.01 * sample_rate)
    windows = images[first : first + (images.size - first) // window * window].reshape(-1, window)
    levels = 10 * np.log10(np.square(windows).mean(axis=1) + 1e-20)
    slope, level = np.polyfit(first / sample_rate + (np.arange(len(levels)) + 0.5) * 0.005, levels, 1)
    response = rng.standard_normal(time.size) * 10 ** ((level - 60 * time / rt60) / 20)
    # Noise fades in during the last 10 ms of the images.
    share = np.clip((np.arange(images.size) - images.size + first) / first, 0, 1)
    images = images * 10 ** ((-60 / rt60 - slope) * time[: images.size] / 20)
    response[: images.size] = np.sqrt(1 - share) * images + np.sqrt(share) * response[: images.size]
    for _ in range(2):
        response *= 10 ** (-3 * time * (1 / rt60 - 1 / reverberation_time(response, sample_rate)))
    return response.astype(np.float32)


def _find_responses(folder: str) -> list[Path]:
    files = audio.find_audio(folder)
    if not files:
        raise CorpusError(f"The folder {folder} contains no audio file. Pass a folder of recorded impulse responses.")
    return files


@functools.lru_cache(maxsize=_CACHED_RECORDINGS)
def _read_response(path: Path, sample_rate: int) -> tuple[np.ndarray, int]:
    """Read a recorded response (samples,), with a direct path of 1, and the sample at which that is."""
    recorded = audio.read(path, sample_rate, refuse_silence=True, channel=0)
    peak = int(np.abs(recorded).argmax())
    first = max(0, peak - round(_BEFORE * sample_rate))
    response = recorded[first : peak + round(_AFTER * sample_rate)] / recorded[peak]
    response.flags.writeable = False
    return response, peak - first
