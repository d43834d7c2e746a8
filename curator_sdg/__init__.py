"""Task-seeded synthetic data for late-stage pretraining: a NeMo Curator extension package on Dask."""

__version__ = "0.1.0"
