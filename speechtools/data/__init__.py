"""Corpora, manifests, mixing and labels: everything between a folder of recordings and a batch."""
