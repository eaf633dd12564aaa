"""What is trained: the networks, their data in memory, and the optimizer that all trainers use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmcv.cnn import ResNet
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mmopt.config import lower
from mmopt.registry import MODELS
from mmopt.structures import DataSample

__all__ = ['TASKS', 'Samples', 'Task', 'batch_loss', 'build_network']

BASES = Path(__file__).resolve().parents[2] / 'configs/_base_/models'


@dataclass(frozen=True)
class Task:
    """A network, its data, and how they are trained.

    Attributes:
        make_network: Returns the network, a ``BaseModel`` of MMEngine.
        make_sample: Returns one sample, drawn with the generator.
        batch_size: Samples of a batch.
        iters: Iterations of a timed run.
        warm_up: Iterations at its beginning that do not count.
        optimizer: Class name in ``torch.optim`` as ``type``, and arguments.
        threads: Threads of torch on a CPU; None leaves the choice to torch.
    """

    make_network: Callable[[], BaseModel]
    make_sample: Callable[[torch.Generator], dict]
    batch_size: int
    iters: int
    warm_up: int
    optimizer: Mapping[str, Any]
    threads: int | None = None


class Samples(Dataset):
    """Samples in memory: 16 different ones, repeated.

    Args:
        make_sample: See :class:`Task`.
        length: Samples of an epoch.
        noise: Add noise from torch's generator to float inputs: random augmentation.
    """

    def __init__(self, make_sample: Callable[[torch.Generator], dict], length: int, *, noise: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.samples = [make_sample(generator) for _ in range(16)]
        self.length = length
        self.noise = noise

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        sample = self.samples[index % len(self.samples)]
        if not self.noise:
            return sample
        inputs = sample['inputs'].float()
        return sample | dict(inputs=inputs + 0.1 * inputs.std() * torch.randn_like(inputs))


def build_network(task: Task) -> BaseModel:
    """Build the network of a task with weights that are the same for every trainer."""
    torch.manual_seed(0)
    network = task.make_network()
    network.init_weights()  # runners of MMEngine's kind would draw others; a second call does nothing
    return network


def batch_loss(network: BaseModel, batch: dict) -> Tensor:
    """Return the loss of a batch as it comes from the loader: move it to the device, normalize, forward, sum."""
    losses = network(**network.data_preprocessor(batch, training=True), mode='loss')
    return network.parse_losses(losses)[0]


class TinyMLP(BaseModel):
    """Two small layers and a mean squared error: compute is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, inputs: list[Tensor], data_samples: list[Tensor], mode: str = 'tensor') -> dict:
        return dict(loss=((self.layers(torch.stack(list(inputs))) - torch.stack(list(data_samples))) ** 2).mean())


class Classifier(BaseModel):
    """ResNet-18, average pooling, a linear layer for 100 classes."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.backbone = ResNet(18, out_indices=(3,), bn_eval=False, bn_frozen=False)
        self.head = nn.Linear(512, 100)

    def forward(self, inputs: list[Tensor], data_samples: list[Tensor], mode: str = 'tensor') -> dict:
        images = torch.stack(list(inputs)).float() / 255.0
        logits = self.head(self.dropout(self.backbone(images).mean((2, 3))))
        return dict(loss=F.cross_entropy(logits, torch.stack(list(data_samples))))


def _image(generator: torch.Generator, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def _tiny_sample(generator: torch.Generator) -> dict:
    return dict(inputs=torch.randn(16, generator=generator), data_samples=torch.randn(4, generator=generator))


def _classifier_sample(generator: torch.Generator, size: int = 128) -> dict:
    label = torch.randint(0, 100, (), generator=generator)
    return dict(inputs=_image(generator, size, size), data_samples=label)


def _small_classifier_sample(generator: torch.Generator) -> dict:
    return _classifier_sample(generator, size=32)


def _segmentation_sample(generator: torch.Generator) -> dict:
    size = (256, 512)
    sample = DataSample(
        label=torch.randint(0, 19, size, dtype=torch.uint8, generator=generator),
        regions=torch.randint(0, 4, size, dtype=torch.uint8, generator=generator),
    )
    return dict(inputs=_image(generator, *size), data_samples=sample)


def _bev_sample(generator: torch.Generator) -> dict:
    sample = DataSample(
        intrinsics=torch.tensor([[633.2, 0.0, 408.1], [0.0, 844.3, 327.7], [0.0, 0.0, 1.0]]),
        label_bits=torch.randint(0, 1 << 15, (196, 200), dtype=torch.int32, generator=generator),
    )
    return dict(inputs=_image(generator, 600, 800), data_samples=sample)


def _model_config(name: str) -> Any:
    return Config(lower(Config.fromfile(BASES / name).to_dict())).model


def _build_segmentor() -> BaseModel:
    return MODELS.build(_model_config('bisenetv2.py'))


def _build_bev() -> BaseModel:
    cfg = _model_config('lss_swin.py')
    # Trainers draw different numbers from torch's generator between the steps: dropped paths would not compare.
    cfg.backbone.drop_path_rate = 0.0
    network = MODELS.build(cfg)
    # Past the first step, in which the classifier's weight is zero.
    nn.init.normal_(network.head.classifier.weight, std=0.01)
    return network


_SGD = dict(type='SGD', lr=1e-3, momentum=0.9, weight_decay=1e-4)
_ADAMW = dict(type='AdamW', lr=1e-4, weight_decay=0.01)

TASKS: dict[str, Task] = dict(
    toy=Task(TinyMLP, _tiny_sample, 4, 3000, 200, dict(type='SGD', lr=1e-3), threads=1),
    resnet18=Task(Classifier, _classifier_sample, 8, 30, 5, _SGD),
    bisenetv2=Task(_build_segmentor, _segmentation_sample, 2, 25, 5, _ADAMW),
    bev=Task(_build_bev, _bev_sample, 1, 12, 3, _ADAMW),
    killed=Task(partial(Classifier, dropout=0.1), _small_classifier_sample, 8, 30, 5, _SGD),
)
