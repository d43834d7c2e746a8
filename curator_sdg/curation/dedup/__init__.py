"""Questions that exist already."""
