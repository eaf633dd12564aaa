"""What published checkpoints call the layers of a network, and what ours do: one table of rules per origin.

Names only, learned from the layouts of the published files; no code of theirs is used. A rule is a regular expression
and its replacement; a name that no rule of its origin matches stays as it is, a name that leads to None is left out.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from mmopt.models.bev.diffbev_weights import convert_diffbev

__all__ = ['ORIGINS', 'Origin', 'origin_of']

_BUFFERS = r'(relative_position_index|attn_mask|relative_coords_table)$'
_CLASSIFIER = r'^(head|fc|classifier|cls_head)\.'


@dataclass(frozen=True)
class Origin:
    """Who published a file, by the names in it.

    Attributes:
        name: What people call it.
        network: What it is: ``Swin``, ``ResNet``, ``YOLOv5``, ``BiSeNetV2`` or ``LSSSegmentor``.
        marks: Regular expressions, each of which some name of such a file matches.
        rules: (expression, replacement), of which the first that matches is applied; None leaves the entry out.
        probe: A name of the network in our models: what stands before it there is put before all others.
        convert: Renames the entries that ``rules`` keep, with ``backbone.`` before them, and changes values where ours
            lie otherwise; None where names tell all.
    """

    name: str
    network: str
    marks: tuple[str, ...]
    rules: tuple[tuple[str, str | None], ...]
    probe: str
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None

    def rename(self, name: str) -> str | None:
        """Return our name of an entry, without what stands before the network; None if it is left out."""
        for expression, replacement in self.rules:
            if re.search(expression, name):
                return None if replacement is None else re.sub(expression, replacement, name)
        return name


def origin_of(names: Collection[str]) -> Origin | None:
    """Tell from the names of a file who published it; None if nobody we know."""
    return next(
        (origin for origin in ORIGINS if all(any(re.search(mark, name) for name in names) for mark in origin.marks)),
        None,
    )


_SWIN = 'patch_embed.proj.weight'
_SWIN_LEFT_OUT = ((_BUFFERS, None), (_CLASSIFIER, None))
_RESNET = 'layer1.0.conv1.conv.weight'
_BISENET_PROBE = 'backbone.detail.0.0.conv.weight'
_RESNET_RULES = (
    (_CLASSIFIER, None),
    (r'^conv1\.weight$', 'conv1.conv.weight'),
    (r'^bn1\.', 'conv1.bn.'),
    (r'^(layer\d+\.\d+)\.conv(\d)\.weight$', r'\1.conv\2.conv.weight'),
    (r'^(layer\d+\.\d+)\.bn(\d)\.', r'\1.conv\2.bn.'),
    (r'^(layer\d+\.\d+)\.downsample\.0\.', r'\1.downsample.conv.'),
    (r'^(layer\d+\.\d+)\.downsample\.1\.', r'\1.downsample.bn.'),
)


def _yolov5() -> tuple[tuple[str, str | None], ...]:
    """Number its layers: the file counts them, from the stem to the detector."""
    blocks: Mapping[int, str] = {
        **{0: 'backbone.stem', 10: 'neck.reduce.1', 14: 'neck.reduce.0', 18: 'neck.shrink.0', 21: 'neck.shrink.1'},
        **{number: f'backbone.stages.{place}.0' for place, number in enumerate((1, 3, 5, 7))},
    }
    stages: Mapping[int, str] = {
        **{13: 'neck.up.1', 17: 'neck.up.0', 20: 'neck.down.0', 23: 'neck.down.1'},
        **{number: f'backbone.stages.{place}.1' for place, number in enumerate((2, 4, 6, 8))},
    }
    rules: list[tuple[str, str | None]] = [(r'anchor', None), (r'\.dfl\.', None)]
    for number, ours in stages.items():
        start = rf'^{number}\.'
        rules += [
            (start + r'm\.(\d+)\.cv1\.conv\.', rf'{ours}.blocks.\1.reduce.conv.'),
            (start + r'm\.(\d+)\.cv1\.bn\.', rf'{ours}.blocks.\1.reduce.norm.'),
            (start + r'm\.(\d+)\.cv2\.conv\.', rf'{ours}.blocks.\1.conv.conv.'),
            (start + r'm\.(\d+)\.cv2\.bn\.', rf'{ours}.blocks.\1.conv.norm.'),
        ]
        for theirs, part in dict(cv1='main', cv2='short', cv3='join').items():
            rules += [
                (start + rf'{theirs}\.conv\.', f'{ours}.{part}.conv.'),
                (start + rf'{theirs}\.bn\.', f'{ours}.{part}.norm.'),
            ]
    for theirs, part in dict(cv1='reduce', cv2='join').items():
        rules += [
            (rf'^9\.{theirs}\.conv\.', f'backbone.stages.3.2.{part}.conv.'),
            (rf'^9\.{theirs}\.bn\.', f'backbone.stages.3.2.{part}.norm.'),
        ]
    for number, ours in blocks.items():
        rules += [(rf'^{number}\.conv\.', f'{ours}.conv.'), (rf'^{number}\.bn\.', f'{ours}.norm.')]
    return (*rules, (r'^24\.m\.', 'head.convs.'))


_GATHER = (  # a gather-and-expansion layer of the first public BiSeNetV2, behind what leads to it
    (r'\.conv1\.conv\.', '.gather.conv.'),
    (r'\.conv1\.bn\.', '.gather.norm.'),
    (r'\.dwconv1\.0\.', '.expand.0.conv.'),
    (r'\.dwconv1\.1\.', '.expand.0.norm.'),
    (r'\.dwconv2\.0\.', '.expand.1.conv.'),
    (r'\.dwconv2\.1\.', '.expand.1.norm.'),
    (r'\.dwconv\.0\.', '.expand.conv.'),
    (r'\.dwconv\.1\.', '.expand.norm.'),
    (r'\.conv2\.0\.', '.project.conv.'),
    (r'\.conv2\.1\.', '.project.norm.'),
    (r'\.shortcut\.0\.', '.shortcut.0.conv.'),
    (r'\.shortcut\.1\.', '.shortcut.0.norm.'),
    (r'\.shortcut\.2\.', '.shortcut.1.conv.'),
    (r'\.shortcut\.3\.', '.shortcut.1.norm.'),
)
_GATHER_MMSEG = (
    (r'\.conv1\.conv\.', '.gather.conv.'),
    (r'\.conv1\.bn\.', '.gather.norm.'),
    (r'\.shortcut\.0\.depthwise_conv\.conv\.', '.shortcut.0.conv.'),
    (r'\.shortcut\.0\.depthwise_conv\.bn\.', '.shortcut.0.norm.'),
    (r'\.shortcut\.0\.pointwise_conv\.conv\.', '.shortcut.1.conv.'),
    (r'\.shortcut\.0\.pointwise_conv\.bn\.', '.shortcut.1.norm.'),
    (r'\.conv2\.0\.conv\.', '.project.conv.'),
    (r'\.conv2\.0\.bn\.', '.project.norm.'),
)


def _joined(starts: Mapping[str, str], inner: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Write rules of a layer for every place where such a layer stands."""
    return tuple(
        (f'^{start}{expression}', f'{ours}{replacement}')
        for start, ours in starts.items()
        for expression, replacement in inner
    )


def _numbered(theirs: str, ours: str, stages: range, layers: range, first: int = 0) -> dict[str, str]:
    """Write out names with two numbers; their stages count from ``first``."""
    return {theirs.format(stage + first, i): ours.format(stage, i) for stage in stages for i in layers}


_PAIR = ((r'\.conv\.', '.conv.'), (r'\.bn\.', '.norm.'))
_BISENET: tuple[tuple[str, str | None], ...] = (
    *_joined(
        {rf'detail\.S{stage + 1}\.{i}': f'backbone.detail.{stage}.{i}' for stage in range(3) for i in range(3)}, _PAIR
    ),
    *_joined(
        {
            r'segment\.S1S2\.conv': 'backbone.semantic.0.first',
            r'segment\.S1S2\.left\.0': 'backbone.semantic.0.convs.0',
            r'segment\.S1S2\.left\.1': 'backbone.semantic.0.convs.1',
            r'segment\.S1S2\.fuse': 'backbone.semantic.0.fuse',
            r'segment\.S5_5\.conv_gap': 'backbone.context.embed',
            r'segment\.S5_5\.conv_last': 'backbone.context.fuse',
        },
        _PAIR,
    ),
    (r'^segment\.S5_5\.bn\.', 'backbone.context.norm.'),
    *_joined(
        {
            rf'segment\.{theirs}\.{i}': f'backbone.semantic.{stage}.{i}'
            for stage, theirs in {1: 'S3', 2: 'S4', 3: 'S5_4'}.items()
            for i in range(4)
        },
        _GATHER,
    ),
    *(
        (rf'^bga\.{theirs}\.', f'backbone.aggregate.{ours}.')
        for theirs, ours in {
            r'left1\.0': 'detail_keep.0.conv',
            r'left1\.1': 'detail_keep.0.norm',
            r'left1\.2': 'detail_keep.1',
            r'left2\.0': 'detail_down.0.conv',
            r'left2\.1': 'detail_down.0.norm',
            r'right1\.0': 'semantic_up.conv',
            r'right1\.1': 'semantic_up.norm',
            r'right2\.0': 'semantic_keep.0.conv',
            r'right2\.1': 'semantic_keep.0.norm',
            r'right2\.2': 'semantic_keep.1',
            r'conv\.0': 'fuse.conv',
            r'conv\.1': 'fuse.norm',
        }.items()
    ),
    *(
        (rf'^{theirs}\.{inner}\.', f'{ours}.{part}.')
        for theirs, ours in {
            'head': 'head',
            'aux2': 'auxiliary.stem_head',
            'aux3': 'auxiliary.s3_head',
            'aux4': 'auxiliary.s4_head',
            'aux5_4': 'auxiliary.s5_head',
        }.items()
        for inner, part in {
            r'conv\.conv': 'conv',
            r'conv\.bn': 'norm',
            r'conv_out\.0\.1\.conv': 'refine',
            r'conv_out\.0\.1\.bn': 'norm_refine',
            r'conv_out\.1': 'classifier',
        }.items()
    ),
)
_BISENET_MMSEG: tuple[tuple[str, str | None], ...] = (
    (r'^auxiliary_head\.', None),  # plain ones there, with a refinement here
    *_joined(
        {
            rf'detail\.detail_branch\.{stage}\.{i}': f'backbone.detail.{stage}.{i}'
            for stage in range(3)
            for i in range(3)
        },
        _PAIR,
    ),
    *_joined(
        {
            r'semantic\.stage1\.conv_first': 'backbone.semantic.0.first',
            r'semantic\.stage1\.convs\.0': 'backbone.semantic.0.convs.0',
            r'semantic\.stage1\.convs\.1': 'backbone.semantic.0.convs.1',
            r'semantic\.stage1\.fuse_last': 'backbone.semantic.0.fuse',
            r'semantic\.stage4_CEBlock\.conv_gap': 'backbone.context.embed',
            r'semantic\.stage4_CEBlock\.conv_last': 'backbone.context.fuse',
            r'bga\.detail_dwconv\.0\.depthwise_conv': 'backbone.aggregate.detail_keep.0',
            r'bga\.detail_down\.0': 'backbone.aggregate.detail_down.0',
            r'bga\.semantic_conv\.0': 'backbone.aggregate.semantic_up',
            r'bga\.semantic_dwconv\.0\.depthwise_conv': 'backbone.aggregate.semantic_keep.0',
            r'bga\.conv': 'backbone.aggregate.fuse',
        },
        _PAIR,
    ),
    (r'^semantic\.stage4_CEBlock\.gap\.1\.', 'backbone.context.norm.'),
    (r'^bga\.detail_dwconv\.0\.pointwise_conv\.conv\.', 'backbone.aggregate.detail_keep.1.'),
    (r'^bga\.semantic_dwconv\.0\.pointwise_conv\.conv\.', 'backbone.aggregate.semantic_keep.1.'),
    *_joined(
        {
            rf'semantic\.stage{stage + 1}\.{i}': f'backbone.semantic.{stage}.{i}'
            for stage in range(1, 4)
            for i in range(4)
        },
        _GATHER_MMSEG,
    ),
    *(
        (
            rf'^semantic\.stage{stage + 1}\.0\.dwconv\.{i}\.{theirs}\.',
            f'backbone.semantic.{stage}.0.expand.{i}.{ours}.',
        )
        for stage in range(1, 4)
        for i in range(2)
        for theirs, ours in dict(conv='conv', bn='norm').items()
    ),
    *_joined(
        {
            rf'semantic\.stage{stage + 1}\.{i}\.dwconv\.0': f'backbone.semantic.{stage}.{i}.expand'
            for stage in range(1, 4)
            for i in range(1, 4)
        },
        _PAIR,
    ),
    (r'^decode_head\.convs\.0\.conv\.', 'head.conv.'),
    (r'^decode_head\.convs\.0\.bn\.', 'head.norm.'),
    (r'^decode_head\.conv_seg\.', 'head.classifier.'),
)

ORIGINS = (
    Origin(
        'DiffBEV, Lift-Splat-Shoot',
        'LSSSegmentor',
        (r'^transformer\.depthnet\.', r'^decode_head\.topdown\.'),
        ((_BUFFERS, None), (r'^transformer\.(dx|bx|nx|frustum)$', None)),
        'neck.depthnet.weight',
        convert_diffbev,
    ),
    Origin(
        'torchvision Swin',
        'Swin',
        (r'^features\.0\.0\.weight$', r'attn\.relative_position_bias_table$'),
        (
            *_SWIN_LEFT_OUT,
            (r'^features\.0\.0\.', 'patch_embed.proj.'),
            (r'^features\.0\.2\.', 'patch_embed.norm.'),
            *(
                (rf'^features\.{2 * stage + 1}\.(\d+)\.{theirs}\.', rf'layers.{stage}.blocks.\1.{ours}.')
                for stage in range(4)
                for theirs, ours in {r'mlp\.0': 'mlp.fc1', r'mlp\.3': 'mlp.fc2'}.items()
            ),
            *((rf'^features\.{2 * stage + 1}\.(\d+)\.', rf'layers.{stage}.blocks.\1.') for stage in range(4)),
            *((rf'^features\.{2 * stage + 2}\.', f'layers.{stage}.downsample.') for stage in range(3)),
            (r'^norm\.', 'norm3.'),
        ),
        _SWIN,
    ),
    Origin(
        'OpenMMLab Swin (mmcls, mmpretrain, mmseg, mmdet)',
        'Swin',
        (r'^patch_embed\.projection\.', r'attn\.w_msa\.'),
        (
            *_SWIN_LEFT_OUT,
            (r'^decode_head\.|^auxiliary_head\.|^neck\.|^bbox_head\.|^roi_head\.|^rpn_head\.|^mask_head\.', None),
            (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
            (r'^stages\.(\d)\.blocks\.(\d+)\.attn\.w_msa\.', r'layers.\1.blocks.\2.attn.'),
            (r'^stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.', r'layers.\1.blocks.\2.mlp.fc1.'),
            (r'^stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.1\.', r'layers.\1.blocks.\2.mlp.fc2.'),
            (r'^stages\.', 'layers.'),
        ),
        _SWIN,
    ),
    Origin(
        'timm Swin, 0.9 and later',
        'Swin',
        (r'^layers\.3\.downsample\.', r'attn\.relative_position_bias_table$'),
        (
            *_SWIN_LEFT_OUT,
            *((rf'^layers\.{stage + 1}\.downsample\.', f'layers.{stage}.downsample.') for stage in range(3)),
            (r'^norm\.', 'norm3.'),
        ),
        _SWIN,
    ),
    Origin(
        'official Swin, or timm before 0.9',
        'Swin',
        (r'^layers\.0\.blocks\.', r'attn\.relative_position_bias_table$'),
        (*_SWIN_LEFT_OUT, (r'^norm\.', 'norm3.')),
        _SWIN,
    ),
    Origin(
        'YOLOv5',
        'YOLOv5',
        (r'^0\.conv\.weight$', r'^2\.cv1\.conv\.', r'^9\.cv2\.'),
        _yolov5(),
        'backbone.stem.conv.weight',
    ),
    Origin(
        'BiSeNetV2, first public version',
        'BiSeNetV2',
        (r'^segment\.S1S2\.',),
        _BISENET,
        _BISENET_PROBE,
    ),
    Origin(
        'BiSeNetV2 of mmseg',
        'BiSeNetV2',
        (r'^detail\.detail_branch\.',),
        _BISENET_MMSEG,
        _BISENET_PROBE,
    ),
    Origin(
        'SlowOnly of mmaction',
        'ResNet',
        (r'^layer1\.0\.conv1\.conv\.weight$',),
        ((_CLASSIFIER, None),),
        _RESNET,
    ),
    Origin(
        'ResNet of torchvision, timm, mmcls, mmseg or mmdet',
        'ResNet',
        (r'^layer1\.0\.conv1\.weight$', r'^bn1\.'),
        ((r'^(decode_head|auxiliary_head|neck|bbox_head|roi_head|rpn_head|mask_head)\.', None), *_RESNET_RULES),
        _RESNET,
    ),
)
"""All that are known, those with the surer marks first."""
