"""Write the corpus into a folder, a file for each piece: `python -m tests.fuzz.make_corpus --seed 1 FOLDER`."""

import argparse
from pathlib import Path

from tests.fuzz.recipes import pieces


def make(folder: Path, seed: int) -> list[Path]:
    """Write every piece of a seed into a folder, which is made; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (name, body) in enumerate(pieces(seed)):
        file = folder / f"{number:03}-{name}.body"
        file.write_bytes(body)
        files.append(file)
    return files


def main() -> None:
    """Make the corpus that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="the same seed makes the same files")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(f"{len(make(arguments.folder, arguments.seed))} files in {arguments.folder}")


if __name__ == "__main__":
    main()
