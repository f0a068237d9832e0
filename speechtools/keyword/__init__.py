"""Keywords: where they lie in a recording, several corpora in one training, and verification by a spoken phrase."""
