"""Copies of checkpoints in a store that is no folder of this machine: what a config names by ``s3://...`` and the like.

Runs write, resume and delete in their folder; the copies follow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.fileio import FileClient, LocalBackend, get_file_backend

__all__ = ['Store', 'open_store']


class Store:
    """A place for copies.

    Args:
        backend: MMEngine's file backend or file client.
        folder: Where in it, as the backend names places.
    """

    def __init__(self, backend: Any, folder: str) -> None:
        self.backend = backend
        self.folder = folder

    def put(self, run: str, path: Path) -> None:
        """Copy a file.

        Args:
            run: Name of the run's folder.
            path: The file.
        """
        self.backend.put(path.read_bytes(), self.backend.join_path(self.folder, run, path.name))

    def remove(self, run: str, name: str) -> None:
        """Delete a copy, if there is one.

        Args:
            run: Name of the run's folder.
            name: Of the file.
        """
        place = self.backend.join_path(self.folder, run, name)
        if self.backend.isfile(place):
            self.backend.remove(place)


def open_store(
    folder: str, backend_args: Mapping[str, Any] | None, file_client_args: Mapping[str, Any] | None
) -> Store | None:
    """Open the store that a config names.

    Args:
        folder: A folder, or an address such as ``s3://bucket/runs``.
        backend_args: Arguments of MMEngine's backend; None: told from the address.
        file_client_args: The older wording.

    Returns:
        The store; None for folders of this machine, which need no copies.

    Raises:
        ValueError: If both wordings are given.
    """
    if backend_args is not None and file_client_args is not None:
        raise ValueError('CheckpointHook: file_client_args is the older word for backend_args; give one of them.')
    backend: Any
    if file_client_args is not None:
        backend = FileClient.infer_client(dict(file_client_args), folder)
        is_local = isinstance(backend.client, LocalBackend)
    else:
        backend = get_file_backend(folder, backend_args=None if backend_args is None else dict(backend_args))
        is_local = isinstance(backend, LocalBackend)
    return None if is_local else Store(backend, folder)
