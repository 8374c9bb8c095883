"""Asking an Elasticsearch or OpenSearch node as a sink is configured: credentials and certificates."""

import ssl

import httpx

from ._tls import TlsConfig
from .config import Elasticsearch
from .errors import ConfigError


def client(sink: Elasticsearch, *, timeout: float) -> httpx.AsyncClient:
    """A client for the sink's nodes; ``timeout`` in seconds. ConfigError: a certificate cannot be read."""
    basic = (
        httpx.BasicAuth(sink.user, sink.password.get_secret_value()) if sink.user and sink.password else None
    )
    authorization = sink.authorization()
    return httpx.AsyncClient(
        timeout=timeout,
        trust_env=False,
        auth=basic,
        headers={"authorization": authorization} if authorization else {},
        verify=certificates(sink.tls) if any(url.startswith("https:") for url in sink.url) else False,
    )


def certificates(tls: TlsConfig) -> ssl.SSLContext:
    """What the C core makes of them, for a client in Python. ConfigError: one cannot be read."""
    core = tls.core()
    try:
        context = ssl.create_default_context(cafile=core["ca_file"])
        if core["cert_file"]:
            context.load_cert_chain(core["cert_file"], core["key_file"], core["key_password"])
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(name for name in (core["ca_file"], core["cert_file"], core["key_file"]) if name)
        raise ConfigError(f"tls: {names}: {error}", op="tls") from None
    return context
