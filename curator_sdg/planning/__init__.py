"""What a run will take, before it is paid for: from a pilot of it, or from a run that is done."""
