import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmopt.models.common import SwinTransformer, convert_official_swin

TINY = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), window_size=3, out_indices=(0, 1))


def literal_swin(model: SwinTransformer, image: torch.Tensor) -> list[torch.Tensor]:
    """The official detection code's wording: pad, roll, partition, mask, attend, and all the way back."""
    embed = model.patch_embed
    image = F.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))
    x = embed.norm(embed.proj(image).permute(0, 2, 3, 1))
    outputs = []
    for index, stage in enumerate(model.layers):
        for block in stage.blocks:
            x = x + literal_attention(block, block.norm1(x))
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        outputs.append(getattr(model, f'norm{index}')(x).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
            parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
            x = stage.downsample.reduction(stage.downsample.norm(torch.cat(parts, -1)))
    return outputs


def literal_attention(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    B, H, W, C = x.shape
    window, shift, attn = block.window_size, block.shift, block.attn
    x = F.pad(x, (0, 0, 0, -W % window, 0, -H % window))
    Hp, Wp = x.shape[1:3]
    x = torch.roll(x, (-shift, -shift), (1, 2))
    region = torch.zeros(1, Hp, Wp, 1)
    slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None)) if shift else (slice(None),)
    for number, (rows, columns) in enumerate((r, c) for r in slices for c in slices):
        region[:, rows, columns] = number

    def cut(part: torch.Tensor) -> torch.Tensor:
        part = part.view(part.shape[0], Hp // window, window, Wp // window, window, -1)
        return part.permute(0, 1, 3, 2, 4, 5).reshape(-1, window**2, part.shape[-1])

    region = cut(region)[..., 0]
    mask = torch.where(region[:, None] != region[:, :, None], -100.0, 0.0).repeat(B, 1, 1)[:, None]
    heads = attn.relative_position_bias_table.shape[1]
    q, k, v = attn.qkv(cut(x)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    bias = attn.relative_position_bias_table[attn.position_index_NN].permute(2, 0, 1)
    score = q @ k.transpose(-1, -2) * (C // heads) ** -0.5 + bias + mask
    out = attn.proj((score.softmax(-1) @ v).transpose(1, 2).flatten(2))
    out = out.view(B, Hp // window, Wp // window, window, window, C).permute(0, 1, 3, 2, 4, 5).reshape(B, Hp, Wp, C)
    return torch.roll(out, (shift, shift), (1, 2))[:, :H, :W]


@pytest.mark.parametrize(('height', 'width'), [(48, 48), (37, 50), (10, 29)])
def test_equals_the_literal_formulation_at_any_size(height, width):
    model = SwinTransformer(**TINY)
    image = torch.randn(2, 3, height, width)
    for actual, expected in zip(model(image), literal_swin(model, image), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_swin_tiny_has_the_official_size_and_stride():
    model = SwinTransformer()
    assert sum(parameter.numel() for parameter in model.parameters()) == 27_519_354
    with torch.no_grad():
        (feature,) = model.eval()(torch.zeros(1, 3, 150, 200))  # a quarter of 600x800
    assert feature.shape == (1, 768, 5, 7)


def test_600x800_gives_19x25_at_stride_32():
    model = SwinTransformer(embed_dims=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    (feature,) = model(torch.zeros(1, 3, 600, 800))
    assert feature.shape == (1, 32, 19, 25)


def test_gradients_are_the_same_when_blocks_are_recomputed():
    plain = SwinTransformer(**TINY)
    recomputed = SwinTransformer(**TINY, with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 30, 41)
    for model in (plain, recomputed):
        sum(out.square().sum() for out in model(image)).backward()
    for a, b in zip(plain.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_recomputing_keeps_less_for_backward():
    def saved_bytes(**options) -> int:
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        model = SwinTransformer(**TINY, **options)
        weights = {parameter.data_ptr() for parameter in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            # The output is kept alive, or freed storages would share an address and count once.
            output = model(torch.randn(1, 3, 96, 96))
        assert output[-1].requires_grad
        return sum(size for pointer, size in saved.items() if pointer not in weights)

    assert saved_bytes(with_cp=True) < saved_bytes() / 3


def test_dropped_paths_scale_the_kept_ones_and_rise_with_depth():
    model = SwinTransformer(**TINY, drop_path_rate=0.3)
    rates = [block.drop_path.probability for stage in model.layers for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    branch = torch.ones(400 * 5, 2)
    kept = model.layers[1].blocks[1].drop_path(branch, 400)
    assert sorted(set(kept.view(400, -1).mean(1).tolist())) == pytest.approx([0.0, 1 / 0.7])
    assert kept.mean() == pytest.approx(1.0, abs=0.15)
    assert torch.equal(model.eval().layers[1].blocks[1].drop_path(branch, 400), branch)


def test_norm_cfg_and_act_cfg_reach_every_layer():
    class MarkedNorm(nn.LayerNorm):
        pass

    model = SwinTransformer(**TINY, norm_cfg=dict(type=MarkedNorm), act_cfg=dict(type='SiLU'))
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 1 + 2 * 4 + 1 + 2
    assert all(isinstance(norm, MarkedNorm) for norm in norms)
    assert not any(isinstance(module, nn.GELU) for module in model.modules())


def official_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Names and shapes of swin_tiny_patch4_window7_224.pth."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {'patch_embed.proj.weight': (96, 3, 4, 4), 'patch_embed.proj.bias': (96,)}
    shapes |= {f'patch_embed.norm.{name}': (96,) for name in ('weight', 'bias')}
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        C = 96 * 2**stage
        for block in range(depth):
            prefix = f'layers.{stage}.blocks.{block}'
            if block % 2 and stage < 3:
                shapes[f'{prefix}.attn_mask'] = (64 // 4**stage, 49, 49)
            for norm in ('norm1', 'norm2'):
                shapes |= {f'{prefix}.{norm}.{name}': (C,) for name in ('weight', 'bias')}
            shapes[f'{prefix}.attn.relative_position_bias_table'] = (169, heads)
            shapes[f'{prefix}.attn.relative_position_index'] = (49, 49)
            for name, (rows, columns) in {
                'attn.qkv': (3 * C, C), 'attn.proj': (C, C), 'mlp.fc1': (4 * C, C), 'mlp.fc2': (C, 4 * C)
            }.items():  # fmt: skip
                shapes |= {f'{prefix}.{name}.weight': (rows, columns), f'{prefix}.{name}.bias': (rows,)}
        if stage < 3:
            shapes[f'layers.{stage}.downsample.reduction.weight'] = (2 * C, 4 * C)
            shapes |= {f'layers.{stage}.downsample.norm.{name}': (4 * C,) for name in ('weight', 'bias')}
    shapes |= {'norm.weight': (768,), 'norm.bias': (768,), 'head.weight': (1000, 768), 'head.bias': (1000,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_official_weights_fill_every_parameter():
    model = SwinTransformer()
    state = official_state()
    model.load_state_dict(convert_official_swin(dict(model=state), last_stage=3), strict=True)
    assert torch.equal(model.norm3.weight, state['norm.weight'])
    assert torch.equal(model.layers[2].blocks[5].attn.qkv.weight, state['layers.2.blocks.5.attn.qkv.weight'])


@pytest.mark.parametrize('argument', ['pretrained', 'init_cfg'])
def test_pretrained_loads_a_checkpoint_file(tmp_path, argument):
    path = str(tmp_path / 'swin.pth')
    state = official_state()
    torch.save(dict(model=state), path)
    options = {argument: path if argument == 'pretrained' else dict(type='Pretrained', checkpoint=path)}
    model = SwinTransformer(**options, out_indices=(2,))
    model.init_weights()
    assert torch.equal(model.layers[2].blocks[5].mlp.fc1.weight, state['layers.2.blocks.5.mlp.fc1.weight'])


def test_weights_of_another_size_are_named(tmp_path):
    path = str(tmp_path / 'swin.pth')
    torch.save(official_state(), path)
    model = SwinTransformer(embed_dims=48, num_heads=(3, 6, 12, 24), pretrained=path)
    with pytest.raises(
        ValueError, match=r'swin.pth: \d+ tensors have another shape.*patch_embed.proj.weight: \(96, 3, 4, 4\)'
    ):
        model.init_weights()


def test_a_file_without_swin_weights_is_named(tmp_path):
    path = str(tmp_path / 'other.pth')
    torch.save({'conv1.weight': torch.zeros(1)}, path)
    with pytest.raises(
        ValueError, match=r"other.pth: holds no weight of a SwinTransformer; its keys begin with \['conv1"
    ):
        SwinTransformer(**TINY, pretrained=path).init_weights()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depths=(2, 2)), r'depths \(2, 2\) and num_heads \(3, 6, 12, 24\) differ in length'),
        (dict(out_indices=(4,)), r'out_indices \(4,\) must be stages 0 to 3'),
        (dict(pretrained='a', init_cfg=dict(type='Pretrained', checkpoint='b')), 'not both'),
    ],
)
def test_contradicting_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        SwinTransformer(**options)


def test_a_position_embedding_tells_places_apart_and_learns():
    model = SwinTransformer(embed_dims=8, depths=(1,), num_heads=(2,), out_indices=(0,), position_size=(28, 56))
    (feature,) = model(torch.zeros(2, 3, 28, 56))
    assert torch.equal(feature[0], feature[1])
    places = feature[0].flatten(1).t()
    assert torch.cdist(places, places).add(torch.eye(len(places))).min() > 1e-3
    feature.square().sum().backward()
    assert model.absolute_pos_embed.grad.abs().sum() > 0


def test_a_position_embedding_of_another_size_is_named():
    model = SwinTransformer(embed_dims=8, depths=(1,), num_heads=(2,), out_indices=(0,), position_size=(28, 28))
    with pytest.raises(ValueError, match=r'given for 49 patches, the image \(28, 56\) has 7x14'):
        model(torch.zeros(1, 3, 28, 56))
