"""Certificates that are made at the time of a test, by the program openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.needed import needed


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-signed certificate, which is its own authority."""

    file: Path
    key: Path


def make_certificate(folder: Path, *names: str) -> Certificate:
    """A certificate for these host names, in files of the folder."""
    made = Certificate(file=folder / "certificate.pem", key=folder / "certificate.key")
    command = [needed("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}"]
    subprocess.run([*command, "-out", made.file, "-keyout", made.key], capture_output=True, check=True, timeout=60)
    return made
