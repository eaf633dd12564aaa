"""Published weights, made up with the names of the published files, in our models."""

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmopt.apis.config import load_config
from mmopt.apis.run.check_model import check_model, outline
from mmopt.apis.weights.convert import _fit, _reordered, convert_weights, fit_weights
from mmopt.apis.weights.rules import ORIGINS, origin_of
from mmopt.models.common.swin import _PatchMerging
from mmopt.utils.errors import UserError
from tests.conftest import load_script
from tests.models.bev.test_diffbev_weights import by_diffbevs_names

State = dict[str, Tensor]
NORM = ('weight', 'bias', 'running_mean', 'running_var')


def conv(name: str, out: int, into: int, size: int = 1) -> State:
    return {f'{name}.weight': torch.randn(out, into, size, size)}


def norm(name: str, channels: int) -> State:
    return {f'{name}.{part}': torch.rand(channels) for part in NORM}


def linear(name: str, out: int, into: int) -> State:
    return {f'{name}.weight': torch.randn(out, into), f'{name}.bias': torch.randn(out)}


def layer_norm(name: str, channels: int) -> State:
    return {f'{name}.weight': torch.rand(channels), f'{name}.bias': torch.rand(channels)}


def official_swin(window: int = 7) -> State:
    state = {**conv('patch_embed.proj', 96, 3, 4), 'patch_embed.proj.bias': torch.randn(96)}
    state |= layer_norm('patch_embed.norm', 96)
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        width = 96 * 2**stage
        for block in range(depth):
            name = f'layers.{stage}.blocks.{block}'
            state |= layer_norm(f'{name}.norm1', width) | layer_norm(f'{name}.norm2', width)
            state |= linear(f'{name}.attn.qkv', 3 * width, width) | linear(f'{name}.attn.proj', width, width)
            state |= linear(f'{name}.mlp.fc1', 4 * width, width) | linear(f'{name}.mlp.fc2', width, 4 * width)
            state[f'{name}.attn.relative_position_bias_table'] = torch.randn((2 * window - 1) ** 2, heads)
            state[f'{name}.attn.relative_position_index'] = torch.zeros(window**2, window**2, dtype=torch.long)
        if stage < 3:
            state |= layer_norm(f'layers.{stage}.downsample.norm', 4 * width)
            state[f'layers.{stage}.downsample.reduction.weight'] = torch.randn(2 * width, 4 * width)
    return state | layer_norm('norm', 768) | linear('head', 1000, 768)


def renamed(state: State, rename: Callable[[str], str]) -> State:
    return {rename(name): value for name, value in state.items()}


def timm_swin() -> State:
    def rename(name: str) -> str:
        for stage in (2, 1, 0):
            name = name.replace(f'layers.{stage}.downsample', f'layers.{stage + 1}.downsample')
        return name.replace('head.', 'head.fc.')

    return renamed(official_swin(), rename)


def torchvision_swin() -> State:
    def rename(name: str) -> str:
        name = name.replace('patch_embed.proj', 'features.0.0').replace('patch_embed.norm', 'features.0.2')
        for stage in range(4):
            name = name.replace(f'layers.{stage}.blocks', f'features.{2 * stage + 1}')
            name = name.replace(f'layers.{stage}.downsample', f'features.{2 * stage + 2}')
        return name.replace('mlp.fc1', 'mlp.0').replace('mlp.fc2', 'mlp.3')

    return renamed(official_swin(), rename)


def openmmlab_swin() -> State:
    def rename(name: str) -> str:
        name = name.replace('patch_embed.proj', 'patch_embed.projection').replace('layers.', 'stages.')
        name = (
            name.replace('.attn.', '.attn.w_msa.')
            .replace('mlp.fc1', 'ffn.layers.0.0')
            .replace('mlp.fc2', 'ffn.layers.1')
        )
        return f'backbone.{name.replace("norm.", "norm3.") if name.startswith("norm.") else name}'

    return renamed(official_swin(), rename)


def resnet50() -> State:
    state = conv('conv1', 64, 3, 7) | norm('bn1', 64)
    for stage, depth in enumerate((3, 4, 6, 3)):
        wide, into = 64 * 2**stage, 64 if stage == 0 else 128 * 2**stage
        for block in range(depth):
            name = f'layer{stage + 1}.{block}'
            state |= conv(f'{name}.conv1', wide, into if block == 0 else 4 * wide) | norm(f'{name}.bn1', wide)
            state |= conv(f'{name}.conv2', wide, wide, 3) | norm(f'{name}.bn2', wide)
            state |= conv(f'{name}.conv3', 4 * wide, wide) | norm(f'{name}.bn3', 4 * wide)
            if block == 0:
                state |= conv(f'{name}.downsample.0', 4 * wide, into) | norm(f'{name}.downsample.1', 4 * wide)
    return state | linear('fc', 1000, 2048)


def yolov5m() -> State:
    def block(name: str, out: int, into: int, size: int = 1) -> State:
        return conv(f'model.{name}.conv', out, into, size) | norm(f'model.{name}.bn', out)

    def c3(number: int, out: int, into: int, depth: int) -> State:
        half = out // 2
        state = (
            block(f'{number}.cv1', half, into) | block(f'{number}.cv2', half, into) | block(f'{number}.cv3', out, out)
        )
        for i in range(depth):
            state |= block(f'{number}.m.{i}.cv1', half, half) | block(f'{number}.m.{i}.cv2', half, half, 3)
        return state

    state = block('0', 48, 3, 6) | block('1', 96, 48, 3) | c3(2, 96, 96, 2)
    state |= block('3', 192, 96, 3) | c3(4, 192, 192, 4) | block('5', 384, 192, 3) | c3(6, 384, 384, 6)
    state |= block('7', 768, 384, 3) | c3(8, 768, 768, 2) | block('9.cv1', 384, 768) | block('9.cv2', 768, 1536)
    state |= block('10', 384, 768) | c3(13, 384, 768, 2) | block('14', 192, 384) | c3(17, 192, 384, 2)
    state |= block('18', 192, 192, 3) | c3(20, 384, 384, 2) | block('21', 384, 384, 3) | c3(23, 768, 768, 2)
    for level, channels in enumerate((192, 384, 768)):
        state |= conv(f'model.24.m.{level}', 255, channels) | {f'model.24.m.{level}.bias': torch.randn(255)}
    return state | {'model.24.anchors': torch.rand(3, 3, 2)}


def bisenetv2() -> State:
    def block(name: str, out: int, into: int, size: int = 3) -> State:
        return conv(f'{name}.conv', out, into, size) | norm(f'{name}.bn', out)

    def pair(name: str, first: int, out: int, into: int, size: int) -> State:
        return conv(f'{name}.{first}', out, into, size) | norm(f'{name}.{first + 1}', out)

    state: State = {}
    for stage, (into, out) in enumerate(((3, 64), (64, 64), (64, 128)), start=1):
        for i in range(2 if stage == 1 else 3):
            state |= block(f'detail.S{stage}.{i}', out, into if i == 0 else out)
    stem = 'segment.S1S2'
    state |= block(f'{stem}.conv', 16, 3) | block(f'{stem}.left.0', 8, 16, 1) | block(f'{stem}.left.1', 16, 8)
    state |= block(f'{stem}.fuse', 16, 32)
    for name, into, out, depth in (('S3', 16, 32, 2), ('S4', 32, 64, 2), ('S5_4', 64, 128, 4)):
        for i in range(depth):
            start, width = f'segment.{name}.{i}', into if i == 0 else out
            state |= block(f'{start}.conv1', width, width) | pair(f'{start}.conv2', 0, out, 6 * width, 1)
            if i == 0:
                state |= pair(f'{start}.dwconv1', 0, 6 * width, 1, 3) | pair(f'{start}.dwconv2', 0, 6 * width, 1, 3)
                state |= pair(f'{start}.shortcut', 0, width, 1, 3) | pair(f'{start}.shortcut', 2, out, width, 1)
            else:
                state |= pair(f'{start}.dwconv', 0, 6 * width, 1, 3)
    state |= norm('segment.S5_5.bn', 128) | block('segment.S5_5.conv_gap', 128, 128, 1)
    state |= block('segment.S5_5.conv_last', 128, 128)
    for name in ('left1', 'right2'):
        state |= pair(f'bga.{name}', 0, 128, 1, 3) | conv(f'bga.{name}.2', 128, 128)
    for name in ('left2', 'right1', 'conv'):
        state |= pair(f'bga.{name}', 0, 128, 128, 3)
    state |= block('head.conv', 1024, 128) | linear_conv('head.conv_out.1', 19, 1024)
    for name, into, refined in (('aux2', 16, 16), ('aux3', 32, 64), ('aux4', 64, 256), ('aux5_4', 128, 1024)):
        state |= block(f'{name}.conv', 128, into) | block(f'{name}.conv_out.0.1', refined, 128)
        state |= linear_conv(f'{name}.conv_out.1', 19, refined)
    return state


def linear_conv(name: str, out: int, into: int) -> State:
    return conv(name, out, into) | {f'{name}.bias': torch.randn(out)}


def mmseg_bisenetv2() -> State:
    """Its backbone and decode head; the gather layers' names are nested one deeper."""
    state: State = {}
    for name, value in bisenetv2().items():
        if name.startswith('aux'):
            continue
        name = name.replace('detail.S1.', 'detail.detail_branch.0.').replace('detail.S2.', 'detail.detail_branch.1.')
        name = name.replace('detail.S3.', 'detail.detail_branch.2.').replace('segment.S1S2.', 'semantic.stage1.')
        name = name.replace('stage1.conv.', 'stage1.conv_first.').replace('stage1.left.', 'stage1.convs.')
        name = name.replace('stage1.fuse.', 'stage1.fuse_last.').replace('segment.S3.', 'semantic.stage2.')
        name = name.replace('segment.S4.', 'semantic.stage3.').replace('segment.S5_4.', 'semantic.stage4.')
        name = name.replace('segment.S5_5.bn.', 'semantic.stage4_CEBlock.gap.1.')
        name = name.replace('segment.S5_5.', 'semantic.stage4_CEBlock.')
        for part in ('conv2', 'dwconv'):
            name = name.replace(f'.{part}.0.', f'.{part}.0.conv.').replace(f'.{part}.1.', f'.{part}.0.bn.')
        for i in (1, 2):
            name = name.replace(f'.dwconv{i}.0.', f'.dwconv.{i - 1}.conv.').replace(
                f'.dwconv{i}.1.', f'.dwconv.{i - 1}.bn.'
            )
        for place, part in enumerate(
            ('depthwise_conv.conv', 'depthwise_conv.bn', 'pointwise_conv.conv', 'pointwise_conv.bn')
        ):
            name = name.replace(f'.shortcut.{place}.', f'.shortcut.0.{part}.')
        for theirs, ours in dict(left1='detail_dwconv', right2='semantic_dwconv').items():
            for place, part in enumerate(('depthwise_conv.conv', 'depthwise_conv.bn', 'pointwise_conv.conv')):
                name = name.replace(f'bga.{theirs}.{place}.', f'bga.{ours}.0.{part}.')
        for theirs, ours in {'left2': 'detail_down.0', 'right1': 'semantic_conv.0', 'conv': 'conv'}.items():
            name = name.replace(f'bga.{theirs}.0.', f'bga.{ours}.conv.').replace(f'bga.{theirs}.1.', f'bga.{ours}.bn.')
        name = name.replace('head.conv.', 'decode_head.convs.0.').replace('head.conv_out.1.', 'decode_head.conv_seg.')
        state[name if name.startswith('decode_head') else f'backbone.{name}'] = value
    return state


@pytest.fixture(scope='module')
def models() -> Callable[[str], nn.Module]:
    built: dict[str, nn.Module] = {}

    def build(config: str) -> nn.Module:
        if config not in built:
            built[config] = outline(load_config(f'baseline/{config}'))
        return built[config]

    return build


CASES = [
    (official_swin, 'official Swin', 'lss_swin_nuscenes', 'backbone.', {'head.weight', 'head.bias'}),
    (timm_swin, 'timm Swin', 'lss_swin_nuscenes', 'backbone.', {'head.fc.weight', 'head.fc.bias'}),
    (torchvision_swin, 'torchvision Swin', 'lss_swin_nuscenes', 'backbone.', {'head.weight', 'head.bias'}),
    (openmmlab_swin, 'OpenMMLab Swin', 'lss_swin_nuscenes', 'backbone.', {'head.weight', 'head.bias'}),
    (resnet50, 'ResNet', 'video_conv3d_driver', 'encoders.0.', {'fc.weight', 'fc.bias'}),
    (
        yolov5m,
        'YOLOv5',
        'yolov5m_fred_rgb',
        '',
        {'24.anchors', *(f'24.m.{level}.{part}' for level in range(3) for part in ('weight', 'bias'))},
    ),
    (bisenetv2, 'BiSeNetV2, first', 'bisenetv2_cityscapes', '', set()),
    (mmseg_bisenetv2, 'BiSeNetV2 of mmseg', 'bisenetv2_cityscapes', 'backbone.', set()),
]


@pytest.mark.parametrize(
    ('make', 'name', 'config', 'part', 'left_out'), CASES, ids=lambda case: getattr(case, '__name__', '')
)
def test_every_weight_of_a_network_finds_its_place(models, make, name, config, part, left_out):
    state, model = make(), models(config)
    found = fit_weights(state, model, 'x.pth')
    assert found.origin.name.startswith(name)
    indices = {key for key in found.left_out if key.endswith('relative_position_index')}
    assert found.left_out.keys() - indices == left_out
    filled = {key for key, _ in model.named_parameters() if key.startswith(part)} - {
        key for key, _ in model.named_parameters() if key.startswith('head.convs.')
    }
    assert filled <= found.state.keys()
    # A bijection: no two of the file went to one place.
    assert len(found.state) == len(state) - len(found.left_out)
    own = model.state_dict()
    assert all(value.shape == own[key].shape for key, value in found.state.items())


def test_a_checkpoint_of_diffbev_fills_the_whole_model_with_its_values(models):
    model = models('lss_swin_nuscenes')
    ours = {name: torch.rand(value.shape).to(value.dtype) for name, value in model.state_dict().items()}
    theirs = {f'module.{name}': value for name, value in by_diffbevs_names(ours).items()}
    found = fit_weights(theirs, model, 'x.pth')
    assert found.origin.name == 'DiffBEV, Lift-Splat-Shoot'
    assert found.num_filled == found.num_params == 29_558_009
    assert found.missing == ()
    assert all(torch.equal(value, ours[name]) for name, value in found.state.items())
    computed = {'dx', 'bx', 'nx', 'frustum', 'relative_position_index'}
    assert {name.rpartition('.')[2] for name in found.left_out} == computed


def test_values_stay_what_they_are(models):
    state = yolov5m()
    found = fit_weights(state, models('yolov5m_fred_rgb'), 'x.pth').state
    assert found['neck.down.1.blocks.1.conv.norm.running_var'] is state['model.23.m.1.cv2.bn.running_var']
    assert found['backbone.stages.3.2.join.conv.weight'] is state['model.9.cv2.conv.weight']


def test_prefixes_of_training_code_are_taken_off(models):
    state = {f'module.model.{name}': value for name, value in yolov5m().items()}
    assert len(fit_weights(state, models('yolov5m_fred_rgb'), 'x.pth').state) == len(state) - 7


def test_position_tables_of_another_window_are_resized(models):
    state = official_swin(window=12)
    key = 'layers.0.blocks.0.attn.relative_position_bias_table'
    ramp = torch.linspace(-1, 1, 23)[:, None].expand(23, 23)  # falls along one axis of the window
    state[key] = ramp.reshape(-1, 1).repeat(1, 3)
    found = fit_weights(state, models('lss_swin_nuscenes'), 'x.pth')
    assert found.changed == {'position tables resized': 12}
    resized = found.state[f'backbone.{key}'][:, 0].reshape(13, 13)
    torch.testing.assert_close(resized, torch.linspace(-1, 1, 13)[:, None].expand(13, 13), atol=0.02, rtol=0)


def test_kernels_inflated_over_time_give_a_still_film_the_answer_of_its_image():
    flat = nn.Conv2d(2, 4, 3, bias=False)
    deep = nn.Conv3d(2, 4, (5, 3, 3), bias=False)
    value, kind = _fit(flat.weight.data, deep.weight.data, 'conv.weight')
    deep.weight.data = value
    image = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(deep(image.unsqueeze(2).expand(-1, -1, 5, -1, -1)).squeeze(2), flat(image))
    assert kind == 'kernels inflated over time'


def test_a_merging_in_the_order_of_openmmlab_computes_the_same_here():
    origin = next(origin for origin in ORIGINS if origin.name.startswith('OpenMMLab'))
    ours = _PatchMerging(3, dict(type='LN'))
    theirs_norm, theirs_reduction = nn.LayerNorm(12), nn.Linear(12, 6, bias=False)
    nn.init.normal_(theirs_norm.weight)
    ours.norm.weight.data = _reordered('layers.0.downsample.norm.weight', theirs_norm.weight.data, origin)
    ours.norm.bias.data = _reordered('layers.0.downsample.norm.bias', theirs_norm.bias.data, origin)
    ours.reduction.weight.data = _reordered(
        'layers.0.downsample.reduction.weight', theirs_reduction.weight.data, origin
    )
    image_BCHW = torch.randn(2, 3, 4, 6)
    unfolded = nn.functional.unfold(image_BCHW, 2, stride=2).transpose(1, 2)  # channels outermost
    expected = theirs_reduction(theirs_norm(unfolded)).flatten(0, 1)
    tokens_TC = image_BCHW.permute(0, 2, 3, 1).reshape(-1, 3)
    torch.testing.assert_close(ours(tokens_TC, (2, 4, 6))[0], expected)


@pytest.mark.parametrize(
    ('state', 'config', 'message'),
    [
        ({'unheard.of': torch.zeros(1)}, 'lss_swin_nuscenes', r'its names \(as unheard.of\) are of no layout we know'),
        (None, 'bisenetv2_cityscapes', 'holds official Swin.*, and the model has no Swin'),
    ],
)
def test_what_does_not_belong_is_refused(models, state, config, message):
    with pytest.raises(UserError, match=message):
        fit_weights(official_swin() if state is None else state, models(config), 'x.pth')


def test_the_tool_writes_what_load_from_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(model=bisenetv2()), 'published.pth')
    main = load_script('tools/convert_weights.py').main
    main(['published.pth', 'baseline/bisenetv2_cityscapes', '--out', 'ours.pth'])
    told = capsys.readouterr().out
    assert 'BiSeNetV2, first public version' in told
    assert '(100.0%)' in told
    (written,) = tmp_path.glob('ours-*.pth')
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert f"load_from = '{written.name}'\nload_from_sha256 = '{digest}'\n" in told
    cfg = load_config('baseline/bisenetv2_cityscapes')
    cfg.load_from = str(written)
    check_model(cfg, None)  # reads it
    with pytest.raises(UserError, match='is not the file that was meant: its SHA-256 is'):
        convert_weights('published.pth', cfg, sha256='0' * 64)
    digest = hashlib.sha256((tmp_path / 'published.pth').read_bytes()).hexdigest()
    assert convert_weights('published.pth', cfg, sha256=digest.upper()).sha256 == digest


def test_code_in_a_file_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ('ran',))

    torch.save(dict(model=Evil()), tmp_path / 'evil.pth')
    with pytest.raises((UserError, ValueError), match='evil.pth'):
        convert_weights(tmp_path / 'evil.pth', load_config('baseline/bisenetv2_cityscapes'))


def test_every_origin_is_told_by_its_own_names():
    made = {
        make: origin_of({name.removeprefix('backbone.').removeprefix('model.'): 0 for name in make()})
        for make, *_ in CASES
    }
    assert len({origin.name for origin in made.values()}) == len(CASES)
