"""What a data folder remembers: which servers run on it, on which ports, and how it was formatted."""

import base64
import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from ..errors import KafkaPipeError
from .ports import Ports
from .process import Child


@dataclass(frozen=True)
class Record:
    """A server that was started, and where its class archive goes when it ends in good order."""

    pid: int
    born: str
    archive: str = ""

    @property
    def child(self) -> Child:
        return Child(self.pid, self.born)


def _new_cluster_id() -> str:
    """As Kafka makes them: 16 random bytes in URL-safe base64, without a leading dash."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return _new_cluster_id() if text.startswith("-") else text


@dataclass
class State:
    """The file ``state.json`` of a data folder."""

    file: Path
    brokers: int = 0
    """Size of the Kafka cluster that the data belong to; 0: no data yet."""
    secure: bool = False
    """Whether that cluster has users and access rules."""
    search: str = ""
    """Which search server the data are of; empty: no data yet."""
    cluster_id: str = field(default_factory=_new_cluster_id)
    ports: Ports = field(default_factory=dict)
    servers: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The state of a data folder; of an empty or missing one, a fresh state."""
        file = folder / "state.json"
        try:
            values = json.loads(file.read_text())
            records = {name: Record(**record) for name, record in values.pop("servers").items()}
            return cls(file=file, servers=records, **values)
        except FileNotFoundError:
            return cls(file=file)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KafkaPipeError(
                f"{file} is damaged ({error}): end the servers of {folder} by hand and remove the file",
                op="stack state",
            ) from error

    def save(self) -> None:
        """Write the file in one step."""
        values = asdict(self)
        del values["file"]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        new.write_text(json.dumps(values, indent=1))
        new.replace(self.file)
