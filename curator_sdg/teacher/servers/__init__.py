"""Servers of our own: started on our GPUs, supervised, registered, and ended with whoever wants them."""
