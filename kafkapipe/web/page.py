"""The colour page: three files, read once, answered from memory."""

from importlib.resources import files

from .answers import Answer, answer

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/page.css": ("page.css", b"text/css; charset=utf-8"),
    "/page.js": ("page.js", b"text/javascript; charset=utf-8"),
}


def load() -> dict[str, Answer]:
    """The answers by path."""
    return {path: _load(name, kind) for path, (name, kind) in _FILES.items()}


def _load(name: str, kind: bytes) -> Answer:
    body = files(__package__).joinpath("static", name).read_bytes()
    return answer(
        200,
        body,
        (b"content-type", kind),
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", _POLICY),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
