"""Degradations of speech: additive noise, clipping, reverberation and others.

A degradation is a plugin of the kind ``degradation``: ``build("degradation/clipping")(clean, rng)`` returns degraded
samples of the same length. ``speechtools.degradations.contract`` describes what a degradation takes and returns.
"""
