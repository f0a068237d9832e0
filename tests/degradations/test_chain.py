"""Chains: their text, what they draw, and steps that degrade a share of the recording."""

import re

import numpy as np
import pytest

from speechtools.core.errors import AudioError, ConfigError, PluginError
from speechtools.degradations.causes import CAUSES, format_causes, parse_causes
from speechtools.degradations.chain import Chain, Step, format_value, parse_chain

RATE = 16000
TIME = np.arange(4 * RATE) / RATE
SPEECH = (np.sin(2 * np.pi * 150 * TIME) + 0.3 * np.sin(2 * np.pi * 1100 * TIME)).astype(np.float32)


def apply(chain, seed=0, samples=SPEECH):
    return Chain(chain)(samples, np.random.default_rng(seed))


def test_a_chain_is_its_steps_in_their_order():
    steps = parse_chain(' degradation/noise( snr_db = [0, -5.5] )+band-limit(kind="low-pass", share=0.3)+gsm()')
    assert steps == [
        Step("noise", {"snr_db": [0, -5.5]}),
        Step("band-limit", {"kind": "low-pass"}, (0.3, 0.3)),
        Step("gsm", {}),
    ]


@pytest.mark.parametrize(
    "value", [1, -2.5, 1e-5, True, "low-pass", "true", "two words", "", "a+b(c=1)", [1, 2.5], ["a", "b c"], [[1], 2]]
)
def test_a_written_value_is_read_again(value):
    (step,) = parse_chain(f"plugin(option={format_value(value)})")
    assert step.options == {"option": value} and type(step.options["option"]) is type(value)


@pytest.mark.parametrize(
    "text, place",
    [
        ("", "at its end"),
        ("noise+", "at its end"),
        ("noise(snr_db=5", "at its end"),
        ("noise(snr_db 5)", "'5\\)'"),
        ("noise(snr_db=)", "'\\)'"),
        ("noise(snr_db=5)) + gsm", "'\\) \\+ gsm'"),
        ("noise(snr_db=5 share=1)", "'share=1\\)'"),
        ("noise(snr_db=[5, 6)", "'\\)'"),
        ("noise(snr_db=5, snr_db=6)", "'snr_db=6\\)'"),
        ("noise(snr_db=5dB)", "'5dB\\)'"),
        ("noise; gsm", "'; gsm'"),
        ("+gsm", "'\\+gsm'"),
        ('noise(noise_folder="a)', "'\"a\\)'"),
        ("noise(share=2)", "share"),
        (5, "5"),
    ],
)
def test_a_wrong_chain_is_an_error_that_shows_the_place(text, place):
    with pytest.raises(ConfigError, match=place):
        parse_chain(text)


def test_a_wrong_step_is_named():
    with pytest.raises(PluginError, match="step nois"):
        Chain("gsm+nois")
    with pytest.raises(PluginError, match="step clipping.*lvel"):
        Chain("noise+clipping(lvel=0.1)")


@pytest.mark.parametrize("chain", ["gsm+LOSS", "Loss(rate=0.1)", "MP3", "loss(RATE=0.1)"])
def test_names_in_upper_case_get_the_name_that_is_meant(chain):
    name = re.search(r"LOSS|Loss|MP3|RATE", chain)[0]
    with pytest.raises(PluginError, match=rf"{name}'. Did you mean '(degradation/)?{name.lower()}'\?"):
        Chain(chain)


def test_the_same_seed_draws_the_same():
    chain = "noise(snr_db=[0, 20])+loss(share=[0.2, 0.5])+clipping"
    assert np.array_equal(apply(chain), apply(chain))
    assert not np.array_equal(apply(chain), apply(chain, seed=1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step, cause", [("noise(snr_db=0", "noise"), ("clipping(level=0.1", "clipping")])
def test_a_share_changes_only_its_stretch_and_is_marked_there(step, cause, seed):
    chain = Chain(f"{step}, share=0.25)")
    degraded, presence = chain.trace(SPEECH, np.random.default_rng(seed))
    changed = np.flatnonzero(degraded != SPEECH)
    first, end = changed[0], changed[-1] + 1
    assert 0.9 * RATE < end - first <= RATE
    # At the ends, it fades.
    assert np.abs(degraded - SPEECH)[[first, end - 1]].max() < 0.1 * np.abs(degraded - SPEECH).max()
    present = parse_causes(format_causes(presence), TIME)[:, CAUSES.index(cause)] > 0
    middle, outside = slice(first + RATE // 5, end - RATE // 5), 0.25 * RATE
    assert present[middle].all()
    places = np.flatnonzero(present)
    assert places[0] >= first - outside and places[-1] < end + outside
    assert chain.causes == (cause,)


def test_a_share_lies_where_there_is_speech():
    samples = SPEECH.copy()
    samples[: 3 * RATE] *= 1e-4
    for seed in range(5):
        degraded = apply("clipping(level=0.1, share=0.1)", seed, samples)
        assert np.flatnonzero(degraded != samples)[-1] >= 3 * RATE
    samples[:] = 0
    samples[100] = 1
    with pytest.raises(AudioError, match="share"):
        apply("noise(share=0.001)", samples=samples)
