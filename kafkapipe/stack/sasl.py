"""The secured side of a broker: TLS, users with passwords (SCRAM-SHA-256 or PLAIN), and access rules.

It is there to try such clients out on one machine: passwords are known, and the broker's other listener,
which has no users, stays open to whoever is on this machine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .launch import Launch

HOST = "127.0.0.1"
USERS: Mapping[str, str] = MappingProxyType({"admin": "admin-secret", "alice": "alice-secret"})
"""Name and password of each user; admin may do everything, the others what access rules allow."""

SCRAM, PLAIN = "SCRAM-SHA-256", "PLAIN"
_LOGIN = "org.apache.kafka.common.security"
_STORE_PASSWORD = "kafkapipe"  # keytool wants one; the file is readable by this user only


class Sasl:
    """A listener that speaks SASL over TLS; ``folder`` holds its key and certificate."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"{HOST}:{port}"
        self._folder = folder

    @property
    def ca(self) -> Path:
        """The certificate that clients are to trust, a PEM file."""
        return self._folder / "ca.pem"

    @property
    def _store(self) -> Path:
        return self._folder / "server.p12"

    def properties(self) -> dict[str, object]:
        """What the broker's file has more. Its own loopback connections are the anonymous superuser's."""
        listener = "listener.name.sasl_ssl"
        users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
        return {
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": f"{SCRAM},{PLAIN}",
            f"{listener}.scram-sha-256.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"{listener}.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required {users};",
            f"{listener}.ssl.keystore.type": "PKCS12",
            f"{listener}.ssl.keystore.location": self._store,
            f"{listener}.ssl.keystore.password": _STORE_PASSWORD,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",
        }

    def scram(self) -> list[str]:
        """Arguments of the StorageTool that make the users."""
        return [
            word
            for name, password in USERS.items()
            for word in ("--add-scram", f"{SCRAM}=[name={name},password={password}]")
        ]

    def make_certificate(self) -> Sequence[Launch]:
        """The JVM's own keytool makes a key and its certificate, which signs itself."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store.unlink(missing_ok=True)
        store = ("-alias", "kafka", "-keystore", str(self._store), "-storepass", _STORE_PASSWORD)
        key = ("-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650", "-storetype", "PKCS12")
        names = ("-dname", f"CN={HOST}", "-ext", f"san=ip:{HOST},dns:localhost", "-ext", "bc:c")
        return (
            _keytool("-genkeypair", *store, *key, *names),
            _keytool("-exportcert", "-rfc", *store, "-file", str(self.ca)),
        )

    def client(self, user: str, mechanism: str) -> dict[str, str]:
        """The properties of a client that is this user."""
        return {
            "bootstrap.servers": self.address,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca),
            "sasl.mechanism": mechanism,
            "sasl.username": user,
            "sasl.password": USERS[user],
        }


def _keytool(*args: str) -> Launch:
    return Launch("sun.security.tools.keytool.Main", args)
