"""The only place that saves or loads checkpoints.

Files are ordinary ``torch.save`` archives: any ``torch.load(path, weights_only=True)`` reads them. They hold tensors
and plain Python only, appear under their name complete or not at all, and carry a checksum.
"""

from mmopt.engine.checkpoint_io.background import BackgroundWriter
from mmopt.engine.checkpoint_io.folder import (
    find_latest,
    read_pointer,
    remove_leftovers,
    switch_link,
    write_pointer,
)
from mmopt.engine.checkpoint_io.formats import normalize
from mmopt.engine.checkpoint_io.optimizer import remap_optimizer_state
from mmopt.engine.checkpoint_io.plain import message_hub_state, restore_message_hub, to_plain
from mmopt.engine.checkpoint_io.prefixes import fit_names
from mmopt.engine.checkpoint_io.published import check_sha256, publish, sha256_of, write_with_hash
from mmopt.engine.checkpoint_io.read import UnsafeCheckpointError, allow_harmless_types, load
from mmopt.engine.checkpoint_io.rng import rng_state, set_rng_state
from mmopt.engine.checkpoint_io.store import Store, open_store
from mmopt.engine.checkpoint_io.tensor_file import write_tensor_file
from mmopt.engine.checkpoint_io.verify import CorruptCheckpointError, verify
from mmopt.engine.checkpoint_io.weights import LoadReport, load_weights
from mmopt.engine.checkpoint_io.write import CheckpointWriteError, replace_file, save, save_to

__all__ = [
    'BackgroundWriter',
    'CheckpointWriteError',
    'CorruptCheckpointError',
    'LoadReport',
    'Store',
    'UnsafeCheckpointError',
    'allow_harmless_types',
    'check_sha256',
    'find_latest',
    'fit_names',
    'load',
    'load_weights',
    'message_hub_state',
    'normalize',
    'open_store',
    'publish',
    'read_pointer',
    'remap_optimizer_state',
    'remove_leftovers',
    'replace_file',
    'restore_message_hub',
    'rng_state',
    'save',
    'save_to',
    'set_rng_state',
    'sha256_of',
    'switch_link',
    'to_plain',
    'verify',
    'write_pointer',
    'write_tensor_file',
    'write_with_hash',
]
