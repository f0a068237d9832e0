"""Speaker verification: encoders, losses, d-vectors, trials and the pretrained interfaces (GE2E)."""
