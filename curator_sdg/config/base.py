"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Obligation = Literal["attribution", "share_alike", "non_commercial", "no_derivatives", "unknown"]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
