"""Builds the extension kafkapipe._core from every C file below csrc/, against the system's libraries.

Three switches, set in the environment: KAFKAPIPE_DEBUG=1 (-O0 -g, assertions, fail points),
KAFKAPIPE_SANITIZE=1 (ASan and UBSan), KAFKAPIPE_COVERAGE=1 (gcov).
"""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# pkg-config name, least version, and what the package is called on Debian, Fedora and Homebrew
LIBRARIES = [
    ("rdkafka", "2.0.2", "librdkafka-dev", "librdkafka-devel", "librdkafka"),
    ("libcurl", "7.84.0", "libcurl4-openssl-dev", "libcurl-devel", "curl"),
    ("libcjson", "1.7.15", "libcjson-dev", "cjson-devel", "cjson"),
    ("zlib", "1.2.11", "zlib1g-dev", "zlib-devel", "zlib"),
    ("libzstd", "1.4.0", "libzstd-dev", "libzstd-devel", "zstd"),
]

VERSION = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def pkg_config(*arguments: str) -> str:
    try:
        return subprocess.run(["pkg-config", *arguments], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        sys.exit(
            "kafkapipe: pkg-config is missing: install pkg-config (Debian) or pkgconf (Fedora, Homebrew)"
        )


def require(name: str, least: str, debian: str, fedora: str, homebrew: str) -> None:
    found = subprocess.run(["pkg-config", f"--atleast-version={least}", name], check=False).returncode == 0
    if not found:
        sys.exit(
            f"kafkapipe: {name} >= {least} was not found by pkg-config: install {debian} (Debian, Ubuntu), "
            f"{fedora} (Fedora) or {homebrew} (Homebrew), then try again"
        )


def flags() -> tuple[list[str], list[str]]:
    compile_args = [
        "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-fvisibility=hidden",
        "-fstack-protector-strong", "-D_POSIX_C_SOURCE=200809L",
    ]  # fmt: skip
    link_args = [] if sys.platform == "darwin" else ["-Wl,-z,relro,-z,now"]
    if os.environ.get("KAFKAPIPE_DEBUG"):
        compile_args += ["-O0", "-g3", "-UNDEBUG", "-DKAFKAPIPE_FAIL_POINTS"]
    else:
        compile_args += ["-O2", "-g1", "-DNDEBUG", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    if os.environ.get("KAFKAPIPE_SANITIZE"):
        compile_args += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
        link_args += ["-fsanitize=address,undefined"]
    if os.environ.get("KAFKAPIPE_COVERAGE"):
        compile_args += ["--coverage", "-O0"]
        link_args += ["--coverage"]
    if os.environ.get("KAFKAPIPE_WERROR"):
        compile_args += ["-Werror"]
    return compile_args, link_args


class BuildExt(build_ext):
    def build_extensions(self) -> None:
        pkg_config("--version")
        for library in LIBRARIES:
            require(*library)
        names = [library[0] for library in LIBRARIES]
        compile_args, link_args = flags()
        for extension in self.extensions:
            extension.extra_compile_args = compile_args + shlex.split(pkg_config("--cflags", *names))
            extension.extra_link_args = link_args + shlex.split(pkg_config("--libs", *names))
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()


setup(
    ext_modules=[
        Extension(
            "kafkapipe._core",
            sources=sorted(str(path) for path in Path("csrc").rglob("*.c")),
            depends=sorted(str(path) for path in Path("csrc").rglob("*.h")),
            include_dirs=["csrc"],
            define_macros=[("KP_VERSION", f'"{VERSION}"')],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
