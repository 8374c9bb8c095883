"""The JSON Schema of the configuration file, for editors and for docs/options.md."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ._units import format_bytes, format_duration
from .config import Config

_AS_TEXT = {"size": format_bytes, "duration": format_duration}


class _Generator(GenerateJsonSchema):
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """As pydantic's, with sizes and durations as a file has them."""
        result = super().default_schema(schema)
        as_text = _AS_TEXT.get(result.get("x-kind", ""))
        if as_text:
            result["default"] = as_text(result["default"])
        return result


def json_schema() -> dict[str, Any]:
    """The schema, with ``x-kind`` where JSON Schema has no word for a type: size, duration, host:port."""
    schema = Config.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": "kafkapipe", **schema}
