"""Degradations of speech: additive noise, and what else happens to it on its way to a listener.

A degradation is a plugin of the kind ``degradation``: ``build("degradation/clipping")(clean, rng)`` returns degraded
samples of the same length. ``speechtools.degradations.contract`` states what one takes and returns.
"""
