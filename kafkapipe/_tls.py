"""Certificates, as sections of the configuration name them."""

import os
from typing import Any, Self

from pydantic import Field, SecretStr, model_validator

from ._section import Section


class TlsConfig(Section):
    """Certificates, for https. Servers are always verified."""

    ca: str | None = Field(default=None, min_length=1)
    """PEM file of the authorities that a server's certificate is checked against; the system's by default."""
    cert: str | None = Field(default=None, min_length=1)
    """PEM file of the client's own certificate, for servers that ask for one."""
    key: str | None = Field(default=None, min_length=1)
    """PEM file of that certificate's private key; by default it is in cert's file."""
    key_password: SecretStr | None = None
    """Password of the private key."""

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if (self.key or self.key_password) and not self.cert:
            raise ValueError("key belongs to a certificate: give cert, too")
        return self

    def core(self) -> dict[str, Any]:
        """The keys that the C core reads."""
        return {
            "ca_file": _file(self.ca), "cert_file": _file(self.cert), "key_file": _file(self.key),
            "key_password": secret(self.key_password),
        }  # fmt: skip


def _file(path: str | None) -> str | None:
    return os.path.abspath(os.path.expanduser(path)) if path else None


def secret(value: SecretStr | None) -> str | None:
    """What the C core reads. Never show it."""
    return value.get_secret_value() if value else None
