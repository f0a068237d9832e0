"""Packet loss: ``degradation/loss``."""

from collections.abc import Sequence

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin
from speechtools.core.runs import true_runs
from speechtools.degradations.noise import shaped_noise
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

CONCEALMENTS = ("none", "repeat", "noise")
_PACKETS_MS = (10, 20, 30, 60)
#: Of concealment by repetition, in seconds: lags of the pitch, the stretch that is compared, overlaps, time to silence.
_SHORTEST_LAG, _LONGEST_LAG = 0.005, 0.015
_COMPARED = 0.02
_OVERLAP = 0.004
_FULL, _FADED = 0.01, 0.06


@plugin("degradation/loss")
class PacketLoss:
    """Lost packets: ``(clean, rng) -> degraded``, both (samples,), aligned; what is received keeps its level.

    Losses come in runs, by the model of Gilbert (1) and Elliott (2) in its simplest form: a channel changes between a
    good state, where no packet is lost, and a bad one, where all are. At least one packet is lost if ``rate`` > 0.
    Received samples are unchanged, except the first 4 ms after a run that was concealed by repetition.

    Parameters
    ----------
    rate : float or pair
        Share of lost packets.
    burst : float or pair
        Mean number of packets in a run of lost ones, at least 1 and at least ``rate / (1 - rate)``.
    packet_ms : int or sequence of int
        Milliseconds in a packet: 10, 20, 30, 60, or several to draw from.
    concealment : str or sequence of str
        What is heard instead, or several to draw from: "none", zeros; "repeat", the last pitch period again and again,
        faded out over 60 ms, as in Appendix I of ITU-T G.711 (3) but with one period only; "noise", noise with the
        spectrum and the level of the last packet. At the beginning, where nothing was received yet, zeros.
    sample_rate : int
        In Hz.

    References
    ----------
    (1) E. N. Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39(5), 1960.
    (2) E. O. Elliott, "Estimates of error rates for codes on burst-noise channels", Bell System Technical Journal
        42(5), 1963.
    (3) ITU-T G.711 Appendix I, "A high quality low-complexity algorithm for packet loss concealment with G.711",
        1999.

    Examples
    --------
    >>> clean = np.ones(1600, dtype=np.float32)
    >>> degraded = PacketLoss(rate=0.1, packet_ms=10, concealment="none")(clean, np.random.default_rng(0))
    >>> int((degraded == 0).sum()) % 160
    0
    """

    causes = ("loss",)

    def __init__(
        self,
        rate: Range = (0.01, 0.2),
        burst: Range = (1, 4),
        packet_ms: int | Sequence[int] = (20, 30),
        concealment: str | Sequence[str] = CONCEALMENTS,
        sample_rate: int = 16000,
    ):
        self.rate = check_range("rate", rate, 0, 0.95)
        self.burst = check_range("burst", burst, 1)
        highest = self.burst[0] / (1 + self.burst[0])
        if self.rate[1] > highest:
            raise ConfigError(
                f"rate={rate!r} is impossible in runs of {self.burst[0]:g} packets, which give at most {highest:.2g}. "
                "Raise burst or lower rate."
            )
        self.packet_ms = check_choices("packet_ms", packet_ms, _PACKETS_MS)
        self.concealment = check_choices("concealment", concealment, CONCEALMENTS)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Lose packets of samples (samples,)."""
        rate, burst = draw(self.rate, rng), draw(self.burst, rng)
        packet = round(self.packet_ms[rng.integers(len(self.packet_ms))] * self.sample_rate / 1000)
        concealment = self.concealment[rng.integers(len(self.concealment))]
        degraded = clean.copy()
        for first, last in true_runs(lost_packets(-(-clean.size // packet), rate, burst, rng)):
            start, end = first * packet, min(last * packet, clean.size)
            degraded[start:end] = 0
            if start == 0 or concealment == "none":
                continue
            if concealment == "noise":
                last_packet = degraded[start - packet : start]
                window = np.hanning(packet)
                degraded[start:end] = shaped_noise((window * last_packet)[None], last_packet, end - start, rng)
            else:
                _repeat(degraded, start, end, self.sample_rate)
        return degraded


def lost_packets(packets: int, rate: float, burst: float, rng: np.random.Generator) -> np.ndarray:
    """Draw which packets are lost: (packets,) bool, at least one if ``rate`` > 0.

    Parameters
    ----------
    rate, burst : float
        Share of lost packets, and the mean length of their runs: the bad state ends with the probability 1 / burst and
        begins with rate / (1 - rate) / burst.
    """
    lost = np.zeros(packets, dtype=bool)
    if rate == 0 or packets == 0:
        return lost
    to_good, to_bad = 1 / burst, rate / (1 - rate) / burst
    draws = rng.random(packets)
    is_bad = draws[0] < rate
    lost[0] = is_bad
    for index in range(1, packets):
        is_bad = draws[index] >= to_good if is_bad else draws[index] < to_bad
        lost[index] = is_bad
    if not lost.any():
        start = int(rng.integers(packets))
        lost[start : start + int(rng.geometric(to_good))] = True
    return lost


def _repeat(signal: np.ndarray, start: int, end: int, sample_rate: int) -> None:
    """Fill signal[start:end] with its last pitch period, in place, and overlap it with what is received next."""
    longest, compared = round(_LONGEST_LAG * sample_rate), round(_COMPARED * sample_rate)
    overlap = round(_OVERLAP * sample_rate)
    history = signal[max(0, start - longest - compared) : start]
    # (samples,): history and the overlap of the repetition with the next packet
    samples = min(end + overlap, signal.size) - start
    lag = _pitch_lag(history, round(_SHORTEST_LAG * sample_rate), longest)
    quarter = max(1, lag // 4)
    period = history[-lag:].astype(np.float64)
    if history.size >= lag + quarter:  # the end of the period leads over to its beginning
        rise = (np.arange(quarter) + 1) / (quarter + 1)
        period[-quarter:] = (1 - rise) * period[-quarter:] + rise * history[-lag - quarter : -lag]
    repeated = np.resize(period, samples)
    # No step from the last received sample.
    step = float(history[-1]) - period[-1]
    repeated[:quarter] += step * (1 - (np.arange(quarter) + 1) / (quarter + 1))[:samples]
    seconds = np.arange(samples) / sample_rate
    repeated *= np.clip((_FADED - seconds) / (_FADED - _FULL), 0, 1)
    signal[start:end] = repeated[: end - start]
    fall = 1 - (np.arange(samples - (end - start)) + 1) / (overlap + 1)
    signal[end : start + samples] = (1 - fall) * signal[end : start + samples] + fall * repeated[end - start :]


def _pitch_lag(history: np.ndarray, shortest: int, longest: int) -> int:
    """The lag in samples with the highest normalised autocorrelation of the end of (samples,)."""
    compared = history.size - longest
    if compared < shortest:
        return min(longest, history.size)
    last, delayed = history[-compared:], history[:-shortest]  # delayed by longest to shortest samples
    energy = np.cumsum(np.square(delayed, dtype=np.float64))
    energy = energy[compared - 1 :] - np.append(0, energy[:-compared])
    similarity = np.correlate(delayed, last, "valid") / np.sqrt(np.maximum(energy, 0) + 1e-9)
    return longest - int(similarity.argmax())
