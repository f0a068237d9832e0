"""Plugins for speechtools: encoder/xvector, speaker-loss/angular-prototypical and corpus/flat-folder."""

from my_plugins import corpus, encoder, loss

__all__ = ["corpus", "encoder", "loss"]
