"""Files, addresses and arrays in; patches, sound clips and video frames out. Knows nothing of tokens or weights."""
