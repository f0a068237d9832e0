"""Rooms: a direct path, and a tail that falls."""

import numpy as np
import pytest

from speechtools.degradations.reverberation import room_response


def test_a_room_is_a_direct_path_and_a_tail_that_falls():
    response = room_response(np.random.default_rng(0), 0.3)
    assert len(response) == 4800 and np.abs(response).argmax() == 0
    early, late = response[1:800], response[-800:]
    # 60 dB in 0.3 s: 50 dB from the first twentieth of a second to the last.
    fall = 20 * np.log10(np.sqrt(np.mean(early**2)) / np.sqrt(np.mean(late**2)))
    assert fall == pytest.approx(50, abs=2)
