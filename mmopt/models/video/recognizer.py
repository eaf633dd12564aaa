"""Views and keypoints in, one action out.

Shape letters: B clips, V views, C channels, T H W, K classes.
"""

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel, ModuleList
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.video.complete import complete_recognizer
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph
from mmopt.utils.placement import device_of

__all__ = ['MultiViewRecognizer']


class _EarlyFusion(nn.Module):
    """A stem per view; their maps are added, or laid side by side and mixed."""

    def __init__(self, stem: nn.Module, num_views: int, channels: int, mode: str) -> None:
        super().__init__()
        self.stems = nn.ModuleList(copy.deepcopy(stem) for _ in range(num_views))
        self.mix = nn.Conv3d(num_views * channels, channels, 1) if mode == 'concat' else None

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        maps = [stem(video_BCTHW) for stem, video_BCTHW in zip(self.stems, views, strict=True)]
        return sum(maps[1:], maps[0]) if self.mix is None else self.mix(torch.cat(maps, dim=1))


@MODELS.register_module()
class MultiViewRecognizer(BaseModel):
    """Classify clips seen by several cameras, with or without keypoints.

    Inputs are a dict: a clip (B, 3, T, H, W) per view, and ``keypoints`` (B, T, points, 3). Samples carry ``label``, a
    scalar; -1 is unknown and does not count. Predictions are ``pred_scores`` (K,) and ``pred_label``.

    Args:
        num_classes: Classes K.
        encoder: Config of the video encoder; None uses keypoints alone.
        keypoint_encoder: Config of the keypoint encoder; None uses videos alone.
        views: Keys of the clips.
        early_fusion: ``'add'`` or ``'concat'``: join the views behind the encoder's stem, so that the rest runs once;
            None: one stream per view.
        fusion: Config of what makes logits from the streams: ``LogitFusion``, ``ProbabilityFusion``,
            ``FeatureMeanFusion``, ``FeatureConcatFusion`` or ``CrossViewAttention``.
        share_weights: One encoder for all views; False: one each.
        label_smooth: Share of the target that is spread over all classes.
        data_preprocessor: Config; the default only moves the batch to the device.

    Raises:
        ValueError: If there is neither encoder, or an option cannot work with the others.
    """

    tta_reason = 'left and right mean something to drivers, views and keypoints'

    def __init__(
        self,
        num_classes: int,
        encoder: dict | None = None,
        keypoint_encoder: dict | None = None,
        views: Sequence[str] = ('front', 'left', 'right'),
        early_fusion: str | None = None,
        fusion: dict | None = None,
        share_weights: bool = True,
        label_smooth: float = 0.0,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if encoder is None and keypoint_encoder is None:
            raise ValueError('MultiViewRecognizer needs an encoder, a keypoint_encoder or both.')
        if early_fusion not in (None, 'add', 'concat'):
            raise ValueError(f"early_fusion must be 'add', 'concat' or None, got {early_fusion!r}.")
        if early_fusion and (encoder is None or not share_weights or len(views) < 2):
            raise ValueError(
                f'early_fusion={early_fusion!r} joins at least two views in one encoder: it needs encoder, '
                'share_weights=True and two views or more.'
            )
        self.views = tuple(views) if encoder is not None else ()
        self.num_classes = num_classes
        self.label_smooth = label_smooth
        num_encoders = 0 if encoder is None else 1 if share_weights else len(self.views)
        # MMEngine's list, which hands init_weights on: torch's would swallow a Pretrained.
        self.encoders = ModuleList(MODELS.build(encoder) for _ in range(num_encoders))
        self.early = None
        if early_fusion:
            self.early = _EarlyFusion(self.encoders[0].stem, len(views), self.encoders[0].stem_channels, early_fusion)
            # The stems belong to the early fusion; a second set of weights would never be used.
            _drop_stem(self.encoders[0])
        self.keypoint_encoder = None if keypoint_encoder is None else MODELS.build(keypoint_encoder)
        num_streams = (1 if early_fusion else len(self.views)) if num_encoders else 0
        channels = [self.encoders[0].out_channels] * num_streams if num_encoders else []
        if self.keypoint_encoder is not None:
            channels.append(self.keypoint_encoder.out_channels)
        fusion = dict(type='FeatureConcatFusion') if fusion is None else dict(fusion)
        self.fusion = MODELS.build(dict(**fusion, in_channels=channels, num_classes=num_classes))

    def _streams(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        needed = [*self.views, *(['keypoints'] if self.keypoint_encoder is not None else [])]
        missing = [name for name in needed if name not in inputs]
        if missing:
            raise ValueError(
                f'The model needs {", ".join(missing)}, the batch has {", ".join(inputs)}: set load_rgb, load_kpt and '
                "views of the data set, or the model's encoder, keypoint_encoder and views."
            )
        streams = []
        if self.views:
            videos = [inputs[name] for name in self.views]
            if self.early is not None:
                streams.append(self.encoders[0].encode(self.early(videos)))
            elif len(self.encoders) == 1:
                # One pass over all views: fewer, larger kernels.
                streams += self.encoders[0](torch.cat(videos)).unflatten(0, (len(videos), -1)).unbind()
            else:
                streams += [encoder(video) for encoder, video in zip(self.encoders, videos, strict=True)]
        if self.keypoint_encoder is not None:
            streams.append(self.keypoint_encoder(inputs['keypoints']))
        return streams

    def forward(
        self,
        inputs: dict[str, Tensor],
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Run the model.

        Args:
            inputs: Clips by view, and keypoints.
            data_samples: Samples of the batch; needed except for mode ``'tensor'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch, when this is a part of it.

        Returns:
            Losses, the samples with predictions, or the logits (B, K).
        """
        logits_BK = self.fusion(self._streams(inputs))
        if mode == 'tensor':
            return logits_BK
        data_samples = require_samples(data_samples, self, mode)
        with torch.autocast(logits_BK.device.type, enabled=False):
            logits_BK = logits_BK.float()
            if mode == 'loss':
                normalizers = self.loss_normalizers(data_samples) if normalizers is None else normalizers
                return self._loss(logits_BK, data_samples, normalizers)
            scores_BK = logits_BK.softmax(dim=-1)
            for sample, scores_K in zip(data_samples, scores_BK, strict=True):
                sample.pred_scores = scores_K
                sample.pred_label = scores_K.argmax()
            return data_samples

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from uint8 clips to scores; see :mod:`mmopt.structures.complete_graph`."""
        del data_samples  # nothing depends on them
        return complete_recognizer(self)

    def loss_normalizers(self, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Count the samples with a label, over the whole batch.

        Args:
            data_samples: All samples of the batch.

        Returns:
            ``samples``, at least 1.
        """
        return dict(samples=(self._labels(data_samples) >= 0).sum().clamp(min=1).float())

    def _labels(self, data_samples: list[DataSample]) -> Tensor:
        device = device_of(self)
        return torch.stack([sample.label for sample in data_samples]).to(device)

    def _loss(
        self, logits_BK: Tensor, data_samples: list[DataSample], normalizers: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        label_B = self._labels(data_samples)
        loss = F.cross_entropy(logits_BK, label_B, ignore_index=-1, label_smoothing=self.label_smooth, reduction='sum')
        right = (logits_BK.detach().argmax(dim=-1) == label_B).sum()
        return dict(loss_cls=loss / normalizers['samples'], accuracy=right / normalizers['samples'])


def _drop_stem(encoder: nn.Module) -> None:
    """Take the stem out of an encoder that is only asked to encode."""
    stem = encoder.stem
    for name, module in list(encoder.named_children()):
        if module is stem:
            setattr(encoder, name, nn.Identity())
