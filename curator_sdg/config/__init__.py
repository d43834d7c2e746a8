"""The run's configuration: one YAML file, validated, with errors that name the key and the nearest right name.

Relative paths are relative to the current directory. Secrets never stand in the file: ``teacher.api_key_env``
names an environment variable.
"""

from curator_sdg.config.base import Obligation, Section, Share
from curator_sdg.config.load import load
from curator_sdg.config.run import ASKING, Asking, ClusterSection, Config, RunSection
from curator_sdg.config.seeds import Caps, LicenceOverride, SeedsSection, TaskChoice
from curator_sdg.config.steps import CurateSection, EnrichSection, FilterChoice, GenerateSection, PackageSection
from curator_sdg.config.teacher import Price, Sampling, TeacherSection, VllmSection, plain_url

__all__ = [
    "ASKING",
    "Asking",
    "Caps",
    "ClusterSection",
    "Config",
    "CurateSection",
    "EnrichSection",
    "FilterChoice",
    "GenerateSection",
    "LicenceOverride",
    "Obligation",
    "PackageSection",
    "Price",
    "RunSection",
    "Sampling",
    "Section",
    "SeedsSection",
    "Share",
    "TaskChoice",
    "TeacherSection",
    "VllmSection",
    "load",
    "plain_url",
]
