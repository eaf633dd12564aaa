"""The keys of `data`, of its loaders and of its data sets."""

from mmopt.config.keys.section import Key, Section
from mmopt.config.values import (
    ANY,
    CLASS,
    COUNT,
    COUNT_OR_AUTO,
    DATASET,
    DICT,
    LIST,
    SWITCH,
    TEXT,
    WORKERS,
    choice,
)

__all__ = ['BATCH_KEYS', 'LOADER', 'SECTIONS']

_NO_PARTIAL_BATCH = 'an evaluation leaves no sample out'

_BATCH = {
    'samples_per_gpu': Key(COUNT, '*_dataloader.batch_size', 'Samples per iteration and GPU; an evaluation takes 1.'),
    'videos_per_gpu': Key(COUNT, '*_dataloader.batch_size', 'The same in video configs; an evaluation takes it too.'),
    'imgs_per_gpu': Key(COUNT, '*_dataloader.batch_size', 'The same in old configs.'),
}
BATCH_KEYS = tuple(_BATCH)
"""The names of the batch size."""

LOADER = {
    **_BATCH,
    'workers_per_gpu': Key(
        WORKERS, '*_dataloader.num_workers', "Processes that load, per GPU (2); `'auto'` measures how many."
    ),
    'pin_memory': Key(SWITCH, '*_dataloader.pin_memory', 'Load into memory that a GPU copies from directly (True).'),
    'persistent_workers': Key(SWITCH, '*_dataloader.persistent_workers', 'Keep the workers between epochs (True).'),
    'prefetch_factor': Key(COUNT_OR_AUTO, '*_dataloader.prefetch_factor', 'Batches that each worker loads ahead.'),
    'shuffle': Key(SWITCH, 'train_dataloader.sampler.shuffle', 'Train in a new order every epoch (True).'),
    'drop_last': Key(
        SWITCH,
        'train_dataloader.drop_last',
        'Leave out an incomplete last batch of an epoch; an iteration-based run has none.',
    ),
    'cache': Key(choice('disk', 'ram'), '*_dataloader.cache', 'Store decoded and resized samples there.'),
    'cache_dir': Key(TEXT, '*_dataloader.cache_dir', 'The folder of a cache on disk.'),
}
"""Keys of a loader; in ``data`` itself they hold for all three."""

_EVALUATION_LOADER = {
    **LOADER,
    'shuffle': Key(SWITCH, refused='an evaluation must not depend on the order; drop the key'),
    'drop_last': Key(SWITCH, dropped=_NO_PARTIAL_BATCH),
}

_DATASET = {
    'type': Key(CLASS, '*_dataloader.dataset.type', 'The class; all keys that are not listed here are its arguments.'),
    'dataset': Key(DATASET, '*_dataloader.dataset.dataset', 'The data set inside a wrapper such as `RepeatDataset`.'),
    'datasets': Key(LIST, '*_dataloader.dataset.datasets', 'The data sets inside a `ConcatDataset`.'),
    'ann_file': Key(
        ANY,
        '*_dataloader.dataset.ann_file',
        'A list makes a `ConcatDataset` of as many data sets, and cuts `img_prefix`, `seg_prefix`, `proposal_file` and '
        '`data_prefix` with it; lists in `img_dir` or `split` cut `ann_dir`.',
    ),
    'test_mode': Key(SWITCH, '*_dataloader.dataset.test_mode', 'Set in `val` and `test` unless they say otherwise.'),
    'separate_eval': Key(SWITCH, dropped='a `ConcatDataset` is always evaluated as one data set'),
}

_OMNISOURCE = (
    'belongs to OmniSource training on several loaders at once, which mmopt does not have; write one data set list in '
    'data.train (it is concatenated) and drop the key'
)
_OWN_SAMPLER = (
    "is a key of that library's own sampler (BEVFormer, MMDetection3D); mmopt shuffles the training set and no other, "
    'over all processes: drop the key'
)
_LOADER_FOREIGN = {
    'class_aware_sampler': 'names a sampler that mmopt does not have; wrap data.train in '
    "dict(type='ClassBalancedDataset', oversample_thr=..., dataset=...) instead"
}

SECTIONS = {
    'data': Section(
        {
            **LOADER,
            'data_root': Key(
                TEXT,
                '*_dataloader.dataset.data_root',
                'Replaces the root of every data set, and the old root at the beginning of any other path.',
            ),
            'on_bad_sample': Key(
                choice('raise', 'skip'),
                'train_dataloader.on_bad_sample',
                'What a training sample that cannot be loaded does to the run.',
            ),
            'train': Key(DATASET, 'train_dataloader.dataset', 'The training set; a list becomes a `ConcatDataset`.'),
            'val': Key(DATASET, 'val_dataloader.dataset', 'The validation set; without it nothing is evaluated.'),
            'test': Key(DATASET, 'test_dataloader.dataset', 'The test set.'),
            'train_dataloader': Key(DICT, 'train_dataloader', 'Keys of this loader that go before the shared ones.'),
            'val_dataloader': Key(DICT, 'val_dataloader', 'The same.'),
            'test_dataloader': Key(DICT, 'test_dataloader', 'The same.'),
        },
        foreign={
            'omni_videos_per_gpu': _OMNISOURCE,
            'train_ratio': _OMNISOURCE,
            'shuffler_sampler': _OWN_SAMPLER,
            'nonshuffler_sampler': _OWN_SAMPLER,
            'sampler': (
                "is a key of that library's own sampler (SoftTeacher); mmopt shuffles the training set, over all "
                'processes: drop the key'
            ),
            'samples_per_epoch': (
                "is a key of MMTracking's own sampler; an epoch of mmopt is the whole set: drop the key, or write "
                "train=dict(type='RepeatDataset', times=...)"
            ),
            'replace': "is a key of MMSelfSup's own sampler, which draws with replacement; drop the key",
            'extract': "is the data of MMSelfSup's own hooks, which mmopt does not have; drop the key",
            'unlabeled': 'belongs to semi-supervised training, which mmopt does not have; drop the key',
            'batch_size': 'is MMEngine wording; write samples_per_gpu',
            'num_workers': 'is MMEngine wording; write workers_per_gpu',
            'collate_fn': "is MMEngine wording; mmopt always uses dict(type='stack_collate'); drop the key",
        },
    ),
    'data.train': Section(_DATASET, is_open=True),
    'data.val': Section({**_BATCH, **_DATASET}, is_open=True),
    'data.test': Section({**_BATCH, **_DATASET}, is_open=True),
    'data.train_dataloader': Section(LOADER, foreign=_LOADER_FOREIGN),
    'data.val_dataloader': Section(_EVALUATION_LOADER),
    'data.test_dataloader': Section(_EVALUATION_LOADER),
}
