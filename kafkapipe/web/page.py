"""The colour page, and kafkapipe.js for other pages: files read once, answered from memory."""

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
    pages = {path: _page(name, kind) for path, (name, kind) in _FILES.items()}
    return {**pages, "/kafkapipe.js": _library()}


def _page(name: str, kind: bytes) -> Answer:
    return answer(
        200,
        _read(name),
        (b"content-type", kind),
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", _POLICY),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )


def _library() -> Answer:
    """The one file that pages of any site may load, and their browsers keep for an hour."""
    return answer(
        200,
        _read("kafkapipe.js"),
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"cache-control", b"public, max-age=3600"),
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    )


def _read(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()
