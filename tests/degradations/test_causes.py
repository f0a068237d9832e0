"""Causes: where they are present, what is unknown, and their text."""

import numpy as np
import pytest

from speechtools.core.errors import CorpusError
from speechtools.degradations.causes import (
    BLOCK_SECONDS,
    CAUSES,
    Presence,
    changed_blocks,
    degrade_with_causes,
    format_causes,
    parse_causes,
)

RATE = 16000
SPEECH = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
BLOCKS = 250
TIMES = BLOCK_SECONDS * (np.arange(BLOCKS) + 0.5)


class Step:
    """Multiplies one second of the speech by a factor."""

    def __init__(self, causes, factor=0.5, **attributes):
        self.factor = factor
        if causes is not None:
            self.causes = causes
        for name, value in attributes.items():
            setattr(self, name, value)

    def __call__(self, clean, rng):
        degraded = clean.copy()
        degraded[RATE : 2 * RATE] *= np.float32(self.factor)
        return degraded


def record(*steps):
    """What is present after steps, as (time, causes)."""
    presence, samples = Presence(), SPEECH
    for step in steps:
        before, samples = samples, step(samples, None)
        presence.record(step, before, samples, RATE)
    return parse_causes(format_causes(presence), TIMES)


def column(present, cause):
    return present[:, CAUSES.index(cause)]


@pytest.mark.parametrize("seed", range(5))
def test_the_text_of_a_presence_is_read_as_the_same_presence(seed):
    rng = np.random.default_rng(seed)
    blocks = {
        cause: rng.random(BLOCKS) < share for cause, share in zip(CAUSES, (0.0, 0.1, 0.5, 0.9, 1.0), strict=False)
    }
    presence = Presence(blocks, {CAUSES[seed]})
    present = parse_causes(format_causes(presence), TIMES)
    for number, cause in enumerate(CAUSES):
        if cause in presence.unknown:
            assert np.isnan(present[:, number]).all()
        else:
            np.testing.assert_array_equal(present[:, number], blocks.get(cause, np.zeros(BLOCKS)))
    assert not parse_causes(format_causes(Presence()), TIMES).any()
    assert np.isnan(parse_causes(None, TIMES)).all()


@pytest.mark.parametrize("text, token", [("nois 1-2", "noise"), ("noise 1-x", "1-x"), ("noise; loss 12", "12")])
def test_other_texts_are_refused(text, token):
    with pytest.raises(CorpusError, match=token):
        parse_causes(text, TIMES)


def test_a_local_cause_is_present_where_samples_change_and_a_sustained_one_nearby():
    loss = column(record(Step(("loss",))), "loss")
    np.testing.assert_array_equal(loss > 0, (TIMES > 0.99) & (TIMES < 2.0))
    noise = column(record(Step(("noise",))), "noise")
    assert noise[(TIMES > 1) & (TIMES < 2)].all() and not noise[(TIMES < 0.75) | (TIMES > 2.25)].any()


def test_inaudible_changes_are_absent_and_so_are_gains_where_they_do_not_count():
    assert not changed_blocks(SPEECH, 1.001 * SPEECH, RATE, local=True).any()
    assert changed_blocks(SPEECH, 2 * SPEECH, RATE, local=True).all()
    assert not changed_blocks(SPEECH, 2 * SPEECH, RATE, local=True, any_gain=True).any()
    assert changed_blocks(SPEECH, np.clip(SPEECH, -0.5, 0.5), RATE, local=True, any_gain=True).all()


def test_what_may_be_left_or_removed_is_unknown():
    noise = Step(("noise",))
    assert np.isnan(column(record(Step((), may_leave=("processing",))), "processing")).all()
    assert np.isnan(column(record(noise, Step((), may_remove=("noise",))), "noise")).all()
    # What is not there cannot be removed, and what is there stays when more of it may be left.
    assert not column(record(Step((), may_remove=("noise",))), "noise").any()
    assert np.nansum(column(record(noise, Step((), may_leave=("noise",))), "noise")) > 60
    # What is added later is known.
    assert np.nansum(column(record(noise, Step((), may_remove=("noise",)), noise), "noise")) > 60
    assert np.isnan(record(Step(None))).all(), "a plugin without causes may have left any"


def test_a_plugin_is_recorded_as_a_step_is():
    step = Step(("loss",))
    degraded, presence = degrade_with_causes(step, SPEECH, np.random.default_rng(0), RATE)
    np.testing.assert_array_equal(degraded, step(SPEECH, None))
    np.testing.assert_array_equal(parse_causes(format_causes(presence), TIMES), record(step))
