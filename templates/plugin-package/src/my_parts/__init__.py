"""Parts for speechtools: encoder/xvector, loss/angular-prototypical and corpus/flat-folder."""

from my_parts import corpus, encoder, loss

__all__ = ["corpus", "encoder", "loss"]
