"""The built extension exports its init function only, so no name of ours can meet another library's."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from kafkapipe import _core

EXPORTS = {"PyInit__core"}


def exported(library: Path) -> set[str]:
    """Names that a shared library defines for others."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", library], check=True, capture_output=True, text=True
    )
    return {line.split()[0] for line in listed.stdout.splitlines()}


def test_the_extension_exports_its_init_function_only():
    assert exported(Path(_core.__file__)) == EXPORTS


@pytest.mark.parametrize(("visibility", "leaks"), [("hidden", set()), ("default", {"kp_leak"})])
def test_a_name_that_leaks_is_seen(tmp_path, visibility, leaks):
    source = tmp_path / "core.c"
    source.write_text(
        "#include <Python.h>\nint kp_leak(void) { return 1; }\n"
        'static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "_core"};\n'
        "PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&def); }\n"
    )
    library = tmp_path / "core.so"
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-fvisibility={visibility}", include, source, "-o", library], check=True
    )
    assert exported(library) == EXPORTS | leaks
