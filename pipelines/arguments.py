"""What all pipeline scripts are told: a configuration, and keys to override."""

import argparse
from pathlib import Path

from curator_sdg.config import Config, load


def config_from_arguments(description: str) -> Config:
    """Read the command line and return the validated configuration."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", type=Path, help="the run's YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="override one key")
    arguments = parser.parse_args()
    return load(arguments.config, arguments.set)
