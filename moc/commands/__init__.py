"""Commands beside those of a study."""
