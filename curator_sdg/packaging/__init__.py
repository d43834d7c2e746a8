"""From answered questions to files that a trainer reads."""
