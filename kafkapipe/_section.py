"""The base of every part of the configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Part of the configuration. Unknown keys are errors; error texts do not quote values."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )
