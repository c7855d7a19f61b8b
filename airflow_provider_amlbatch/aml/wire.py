"""The bases of all wire types: JSON objects of the services as pydantic models.

Unknown fields are kept, because the services add fields without notice; a field that is missing takes its default.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel, to_pascal


def format_time(instant: datetime) -> str:
    """Write an instant as the services write it: ISO 8601, seven digits after the second, UTC."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond:06d}0Z"


def _in_utc(instant: datetime) -> datetime:
    """The same instant in UTC. The services mean UTC where they name no zone."""
    try:
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant lies outside of the years 1 to 9999") from None


#: An instant in UTC, written on the wire as ISO 8601.
Instant = Annotated[
    datetime,
    AfterValidator(_in_utc),
    PlainSerializer(format_time, return_type=str, when_used="json-unless-none"),
]


class Wire(BaseModel):
    """A JSON object of a service."""

    model_config = ConfigDict(populate_by_name=True, extra="allow", defer_build=True, protected_namespaces=())

    def to_wire(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """The object as JSON-safe values, under the names of the wire."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=exclude_none)


class Camel(Wire):
    """A JSON object in camelCase: run history, artifacts, models, datasets, datastores, ARM."""

    model_config = ConfigDict(alias_generator=to_camel)


class Pascal(Wire):
    """A JSON object in PascalCase: everything under ``/pipelines/v1.0``, where case matters."""

    model_config = ConfigDict(alias_generator=to_pascal)
