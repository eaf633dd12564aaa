"""Tiny models with random weights on the demo data of recordings, as checkpoints that know their config."""

import csv
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope

import mmopt
from mmopt.apis import Predictor
from mmopt.apis.config import load_config
from mmopt.apis.predict.run import Predicted, predict_into
from mmopt.apis.run.facts import build_dataset, model_config
from mmopt.datasets.bev.demo import make_demo as make_streets
from mmopt.datasets.common.collate import stack_collate
from mmopt.datasets.tad.demo import make_demo as make_mice
from mmopt.datasets.video.demo import make_demo as make_drivers
from mmopt.engine import checkpoint_io
from mmopt.registry import MODELS
from tests.apis.predict.trained import Trained
from tests.conftest import REPO, forget_mmengine_globals


def save_untrained(name: str, options: list[str], folder: Path, loud: Collection[str] = ()) -> tuple[Trained, object]:
    """Save a model as a training of one iteration leaves it; and its validation set."""
    config = str(REPO / 'configs' / 'demo' / f'{name}.py')
    torch.manual_seed(0)
    cfg = load_config(config, options=options)
    init_default_scope('mmopt')
    model = MODELS.build(model_config(cfg))
    with torch.no_grad():  # outputs that differ from place to place, none of them rare
        for name_of, parameter in model.named_parameters():
            if name_of.endswith('bias') and parameter.ndim == 1:
                parameter.zero_()
            elif name_of in loud:
                parameter.normal_(std=2.0)
    dataset = build_dataset(cfg, 'test_dataloader')
    dataset.full_init()
    _see(model, build_batch(dataset))
    meta = dict(iter=1, epoch=1, mmopt_version=mmopt.__version__, precision='fp32', cfg=cfg.pretty_text)
    meta['dataset_meta'] = dataset.metainfo
    path = folder / 'weights.pth'
    checkpoint_io.save(path, dict(meta=meta, state_dict=model.state_dict()))
    forget_mmengine_globals()
    return Trained(config, str(path), options, []), dataset


def build_batch(dataset: Any) -> Any:
    """Return the first samples of a data set as a batch."""
    return stack_collate([dataset[index] for index in range(min(len(dataset), 4))])


def _see(model: torch.nn.Module, batch: Any) -> None:
    """Let normalization layers see some data: the statistics of a new one make everything small."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # a plain mean over all that is seen
    if norms:
        with torch.no_grad():
            prepared = model.train().data_preprocessor(batch, True)
            model(prepared['inputs'], prepared['data_samples'], mode='loss')
    for norm in norms:
        norm.momentum = 0.1


def make_behaviors(folder: Path) -> Trained:
    """Make a detector of behaviors, which finds events of all kinds everywhere; its sources are tracks of mice."""
    root = make_mice(folder / 'mabe', 4, 4, video_s=8.0).out
    options = [
        f'data_root={root}', 'model.score_threshold=0.0', 'data.test_dataloader.samples_per_gpu=2',
        'data.test.window=100', 'data.test.overlap=50', 'model.window=100', 'model.encoder.conv_channels=(8,8)',
        'model.encoder.hidden_size=8', 'model.anchor_lengths=(10,30)', 'evaluation.metric.score_threshold=0.012',
        'data.train.window=100', 'data.train.overlap=50', 'data.val.window=100', 'data.val.overlap=50',
    ]  # fmt: skip
    heads = ('objectness', 'action', 'agent', 'target')
    trained, dataset = save_untrained('tad_v7_mabe', options, folder, [f'heads.{name}.3.weight' for name in heads])
    files = [str(root / 'train_tracking' / video.lab_id / f'{video.video_id}.parquet') for video in dataset.videos]
    return Trained(trained.config, trained.checkpoint, options, files)


def make_actions(folder: Path) -> Trained:
    """Make a classifier of three views; its sources are folders of recordings."""
    root = make_drivers(folder / 'driver', 1, 1, (64, 64)).out
    options = [
        f'data_root={root}', 'model.encoder.base_channels=4', 'data.test_dataloader.samples_per_gpu=4',
        'data.workers_per_gpu=0',
    ]  # fmt: skip
    trained, _ = save_untrained('video_conv3d_driver', options, folder, ['fusion.classifier.1.weight'])
    recordings = sorted(str(path) for path in (root / 'videos_split' / 'person_101').iterdir())
    return Trained(trained.config, trained.checkpoint, options, recordings)


def make_skeletons(folder: Path, root: Path) -> Trained:
    """Make a classifier of keypoints, on the data of :func:`make_actions`; its sources are folders of keypoints."""
    options = [f'data.{split}.data_root={root}' for split in ('train', 'val', 'test')]
    options += ['data.cache=None', 'data.test_dataloader.samples_per_gpu=8']
    trained, _ = save_untrained('video_stgcn_driver', options, folder)
    recordings = sorted(str(path) for path in (root / 'keypoints' / 'person_101').iterdir())
    return Trained(trained.config, trained.checkpoint, options, recordings)


def make_maps(folder: Path) -> Trained:
    """Make a segmentor of the ground ahead; its sources are pictures with a calib.json above them."""
    root = make_streets(folder / 'nuscenes', 1, 3, (180, 320), say=lambda text: None).out
    options = [f'data_root={root}', 'data.test_dataloader.samples_per_gpu=2', 'data.workers_per_gpu=0']
    trained, _ = save_untrained('lss_swin_nuscenes', options, folder, ['head.classifier.weight'])
    pictures = sorted(str(path) for path in (root / 'img_dir' / 'val').iterdir())
    return Trained(trained.config, trained.checkpoint, options, pictures)


def predict(trained: Trained, **said: Any) -> Predictor:
    """Return a predictor to which this was said of sources."""
    return Predictor(trained.checkpoint, source_options=said)


def write_into(predictor: Predictor, sources: Sequence[str], out: Path, **options: Any) -> Predicted:
    """Predict sources into a folder."""
    return predict_into(predictor, sources, out, **options)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding='utf-8'))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table with a header."""
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))
