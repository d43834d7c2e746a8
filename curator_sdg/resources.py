"""Files that a run needs and that ship in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def data_dir(name: str) -> Path:
    """Return the folder of shipped data called ``name`` (``catalog``).

    In a wheel it lies inside the package, in a checkout under ``configs/``, where people edit it.

    Raises:
        FileNotFoundError: If the installation is broken and holds neither.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / "configs" / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"curator_sdg is installed without its {name!r} data; reinstall the package")
