"""The journal of what was answered, and what that has used."""
