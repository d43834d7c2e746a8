"""A few seeds through every step, in this process: how a prompt is tuned before anything large is paid for."""

from curator_sdg.report.preview.picking import Picked, pick_seeds
from curator_sdg.report.preview.records import SeedTrial
from curator_sdg.report.preview.summary import Summary, summarise
from curator_sdg.report.preview.text import SystemPrompts, seed_text, summary_text
from curator_sdg.report.preview.trial import try_out

__all__ = [
    "Picked",
    "SeedTrial",
    "Summary",
    "SystemPrompts",
    "pick_seeds",
    "seed_text",
    "summarise",
    "summary_text",
    "try_out",
]
