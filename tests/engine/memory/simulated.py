"""Everything that needs the simulated GPU, run in a process of its own: prints its findings as one line of JSON."""

import dataclasses
import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

from mmopt.engine.memory.estimate import estimate
from mmopt.engine.memory.fake_calls import answer_calls
from mmopt.engine.memory.kernels import _attention, choose_attention
from mmopt.engine.memory.measure import measure_on_cpu
from mmopt.engine.memory.simulate import Simulator
from mmopt.engine.memory.trace import Recorder
from mmopt.engine.memory.values import KnownValues, known_value
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper

SIMULATOR = Simulator()
GPU = SIMULATOR.device


def dtypes() -> dict:
    """Run operators under autocast and tell the types of their results."""
    out = {}
    for name, dtype in dict(fp16=torch.float16, bf16=torch.bfloat16).items():
        known = Recorder('simgpu', KnownValues(SIMULATOR.fake_mode))
        with SIMULATOR.fake_mode, known, torch.autocast('simgpu', dtype):
            single, half = torch.zeros(4, 4, device=GPU), torch.zeros(4, 4, device=GPU, dtype=dtype)
            image = torch.zeros(2, 4, 8, 8, device=GPU)
            double = torch.zeros(4, 4, device=GPU, dtype=torch.float64)
            on_host = torch.zeros(4, 4)
            found = dict(
                matmul=single @ single,
                linear=F.linear(single, single),
                einsum=torch.einsum('ij,jk->ik', single, single),
                conv=F.conv2d(image, torch.zeros(3, 4, 3, 3, device=GPU)),
                module=nn.Linear(4, 4, device=GPU)(single),
                add=half + single,
                relu_of_half=F.relu(half),
                softmax=half.softmax(-1),
                log_softmax=F.log_softmax(half, -1),
                layer_norm=F.layer_norm(half, (4,)),
                sum=half.sum(),
                norm=half.norm(),
                exp=half.exp(),
                bce=F.binary_cross_entropy_with_logits(half, single),
                upsample=F.interpolate(image.to(dtype), scale_factor=2, mode='bilinear'),
                cat=torch.cat([half, half]),
                promote=torch.addcmul(half, half, single),
                promote_halves=torch.addcmul(half, half, half),
                double=double @ double,
                host=on_host @ on_host,
            )
        out[name] = {key: str(value.dtype).removeprefix('torch.') for key, value in found.items()}
    return out


def weight_casts() -> dict:
    """Count the casts of a weight that is used three times, inside and after autocast."""
    with SIMULATOR.fake_mode:
        weight = nn.Parameter(torch.zeros(256, 256, device=GPU))
        image = torch.zeros(8, 256, device=GPU)
        counts = {}
        for name, enabled in dict(cached=True, uncached=False).items():
            recorder = Recorder('simgpu')
            with recorder, torch.autocast('simgpu', torch.float16, cache_enabled=enabled):
                for _ in range(3):
                    F.linear(image, weight)
            counts[name] = sum(a.size == 256 * 256 * 2 for a in recorder.trace.allocations)
        with recorder, torch.autocast('simgpu', torch.float16):
            F.linear(image, weight)
            with torch.autocast('simgpu', enabled=False):
                counts['inside_disabled'] = str(F.linear(image, weight).dtype)
    return counts


def attention() -> dict:
    def query(dtype: torch.dtype, size: int = 32) -> torch.Tensor:
        return torch.zeros(2, 3, 49, size, device=GPU, dtype=dtype)

    with SIMULATOR.fake_mode:
        bias = torch.zeros(2, 3, 49, 49, device=GPU)
        out = dict(
            half=choose_attention(query(torch.float16), None),
            half_with_bias=choose_attention(query(torch.float16), bias),
            single=choose_attention(query(torch.float32), None),
            odd_head=choose_attention(query(torch.float32, 30), None),
            turing=choose_attention(query(torch.float16), None, (7, 5)),
            hopper=choose_attention(query(torch.float16), None, (9, 0)),
            hopper_with_bias=choose_attention(query(torch.bfloat16), bias, (9, 0)),
            hopper_with_trained_bias=choose_attention(query(torch.float16), bias.clone().requires_grad_(), (9, 0)),
            hopper_single=choose_attention(query(torch.float32), None, (9, 0)),
            hopper_odd_head=choose_attention(query(torch.float16, 36), None, (9, 0)),
            workstation=choose_attention(query(torch.float16), None, (12, 0)),
        )
        recorder = Recorder('simgpu')
        leaf = [query(torch.float16).requires_grad_() for _ in range(3)]
        trained_bias = bias.half().requires_grad_()
        with recorder:
            F.scaled_dot_product_attention(*leaf, attn_mask=trained_bias).sum().backward()
        out['operators'] = sorted({a.operator for a in recorder.trace.allocations if 'scaled_dot' in a.operator})
        with recorder:
            leaf = [query(torch.bfloat16).requires_grad_() for _ in range(3)]
            _attention((9, 0), *leaf, bias > 0).sum().backward()
        out['hopper_operators'] = sorted(
            {a.operator for a in recorder.trace.allocations if 'cudnn_attention' in a.operator}
        )
        out['hopper_gradients'] = all(t.grad is not None and t.grad.shape == t.shape for t in leaf)
        # 49 columns are padded to 56, so that rows begin at multiples of 16 bytes.
        out['padded_bias'] = any(a.size == 2 * 3 * 49 * 56 * 2 for a in recorder.trace.allocations)
        out['has_gradients'] = all(t.grad is not None and t.grad.shape == t.shape for t in [*leaf, trained_bias])
    return out


def recurrent() -> dict:
    with SIMULATOR.fake_mode:
        lstm = nn.LSTM(16, 32, num_layers=2, batch_first=True, bidirectional=True, device=GPU)
        gru = nn.GRU(16, 32, device=GPU)
        recorder = Recorder('simgpu')
        with recorder, torch.autocast('simgpu', torch.float16):
            out, (hidden, cell) = lstm(torch.zeros(4, 10, 16, device=GPU))
            shorter, last = gru(torch.zeros(10, 4, 16, device=GPU))
        out.float().sum().backward()
    return dict(
        out=[list(out.shape), str(out.dtype)],
        hidden=list(hidden.shape),
        cell=list(cell.shape),
        gru=[list(shorter.shape), list(last.shape)],
        # 2 layers x 2 directions x 40 places x 32 units x 6 values of half precision
        reserve=any(a.size == 2 * 2 * 40 * 32 * 6 * 2 for a in recorder.trace.allocations),
        num_gradients=sum(p.grad is not None and p.grad.shape == p.shape for p in lstm.parameters()),
        num_parameters=len(list(lstm.parameters())),
    )


def values() -> dict:
    """Read values of labels, and sizes that depend on activations."""
    known = KnownValues(SIMULATOR.fake_mode)
    with SIMULATOR.fake_mode, Recorder('simgpu', known):
        labels = torch.tensor([0, 1, 255, 1, 0, 1]).to(GPU)
        mask = labels == 1
        activation = torch.empty(6, 20000, device=GPU)
        out = dict(
            count=int(mask.sum()),
            places=mask.nonzero().flatten().tolist(),
            rows=list(activation[mask].shape),
            assumed_before=dict(known.assumed),
            selected=list(activation[activation > 0].shape),
            number=float(activation.sum()),
            assumed=sorted(known.assumed),
        )
        view = labels[:3]
        view.fill_(1)
        out['after_write'] = int((labels == 1).sum())
        labels[0] = activation.argmax()
        out['forgotten'] = known_value(labels) is None and known_value(view) is None
        loops = 0
        while bool((activation > 0).any()):
            loops += 1
        out['loop_ends'] = loops < 1000
        out['numpy_tensor'] = int(torch.as_tensor([3, 4]).to(GPU).max())
    return out


def calls() -> dict:
    """Read arrays of labels and activations, and train by a CTC loss whose texts stay on the host."""
    known = KnownValues(SIMULATOR.fake_mode)
    with SIMULATOR.fake_mode, Recorder('simgpu', known), answer_calls(known):
        scores = torch.empty(200, 100, device=GPU, requires_grad=True)
        host = scores.detach().cpu()
        out = dict(
            labels=torch.tensor([2, 0]).to(GPU).cpu().numpy().tolist(),
            assumed_before=dict(known.assumed),
            shape=np.asarray(host).shape,
            dtypes=[str(host.to(dtype).numpy().dtype) for dtype in (torch.float16, torch.int32)],
            forced=scores.numpy(force=True).shape,
            mask=bool((host > 0).numpy().all()),
            back=list(torch.tensor(host.numpy().max(1), device=GPU).shape),
            assumed=sorted(known.assumed),
            refused=[],
        )
        for tensor in (scores, scores.detach(), scores.cpu()):
            try:
                tensor.numpy()
            except (TypeError, RuntimeError) as error:
                out['refused'].append(type(error).__name__)
        out['ctc'] = {}
        for reduction in ('none', 'mean', 'sum'):
            steps = torch.empty(8, 2, 5, device=GPU, requires_grad=True)
            loss = F.ctc_loss(
                steps.log_softmax(2), torch.ones(2, 4, dtype=torch.int64), torch.full((2,), 8), torch.tensor([4, 3]),
                reduction=reduction, zero_infinity=reduction == 'mean',
            )  # fmt: skip
            loss.sum().backward()
            out['ctc'][reduction] = [list(loss.shape), loss.device.type, list(steps.grad.shape)]
    out['restored'] = 'numpy' not in vars(FakeTensor) and torch.ctc_loss.__name__ == 'ctc_loss'
    return out


class Net(nn.Module):
    """Convolutions, norms of three kinds, dropout and attention: memory's usual suspects."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.SiLU(), nn.Dropout(0.1))
        self.norm = nn.LayerNorm(24)
        self.heads = nn.MultiheadAttention(24, 3, batch_first=True)
        self.head = nn.Linear(24, 7)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor, mode: str = 'loss') -> dict:
        del mode
        tokens = self.block(self.stem(inputs)).flatten(2).transpose(1, 2)
        tokens = tokens + self.heads(self.norm(tokens), tokens, tokens, need_weights=False)[0]
        # Numbers that a model makes on the device of its inputs, by both ways of torch.
        weights = labels.new_tensor([1, 2, 1, 1, 1, 1, 1]) * torch.tensor([0.5], device=labels.device)
        return dict(loss=F.cross_entropy(self.head(tokens.mean(1)).float(), labels, weights))


class Mlp(nn.Module):
    """Layers whose CPU kernels take nothing for themselves, so that the allocator sees what operators return."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256), nn.LayerNorm(256)) for _ in 'abc']
        self.layers = nn.Sequential(*layers, nn.Linear(256, 7))

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor, mode: str = 'loss') -> dict:
        del mode
        return dict(loss=F.cross_entropy(self.layers(inputs), labels))


def rows() -> dict:
    return dict(inputs=torch.zeros(512, 256), labels=torch.zeros(512, dtype=torch.int64))


def batch(size: int = 4) -> dict:
    return dict(inputs=torch.zeros(size, 3, 64, 64), labels=torch.zeros(size, dtype=torch.int64))


def on_gpu(size: int = 4) -> dict:
    return {key: value.to(GPU) for key, value in batch(size).items()}


def adamw(model: nn.Module) -> OptimWrapper:
    return OptimWrapper(torch.optim.AdamW(model.parameters()))


def amp(model: nn.Module) -> OptimWrapper:
    return AmpOptimWrapper(torch.optim.AdamW(model.parameters()), dtype='float16')


def scan() -> dict:
    """Compare the stand-in of the parallel scan with the scan itself."""
    from mmopt.ops import scan as ops

    peaks = []
    for device_type in ('simgpu', 'another'):
        ops.SIMULATED_DEVICE = device_type
        trace_of = []
        for length in (2, 7, 64):
            recorder = Recorder('simgpu')
            with SIMULATOR.fake_mode, recorder:
                decay, drive = (torch.empty(2, length, 3000, 16, device=GPU) for _ in range(2))
                ops._scan(decay, drive)
            trace_of.append(recorder.trace.peak()[0])
        peaks.append(trace_of)
    ops.SIMULATED_DEVICE = 'simgpu'
    return dict(stand_in=peaks[0], real=peaks[1])


def cpu_check() -> dict:
    cpu = torch.device('cpu')
    trace, _ = SIMULATOR.trace(Net, adamw, batch, device=cpu)
    mlp, _ = SIMULATOR.trace(Mlp, adamw, rows, device=cpu)
    return dict(
        net=[trace.peak()[0], measure_on_cpu(Net, adamw, batch)],
        mlp=[mlp.peak()[0], measure_on_cpu(Mlp, adamw, rows)],
        mlp_allocator=[mlp.peak()[0], measure_on_cpu(Mlp, adamw, rows, by_allocator=True)],
    )


def training() -> dict:
    out = {}
    num_bytes = sum(p.numel() for p in Net().parameters()) * 4
    for name, wrapper in dict(fp32=adamw, fp16=amp).items():
        trace, assumed = SIMULATOR.trace(Net, wrapper, on_gpu)
        found = estimate(trace)
        phases = [a.phase for a in trace.allocations]
        out[name] = dict(
            weights=found.parts['weights'],
            gradients=found.most['gradients'],
            optimizer=found.most['optimizer'],
            activations=found.parts['activations'],
            reserved=[found.reserved_low, found.reserved, found.reserved_high],
            modules=[module for module, _ in found.modules],
            assumed=assumed,
            phases=sorted(set(phases)),
            total=sum(found.parts.values()),
            peak=trace.peak()[0],
        )
    out['parameters'] = num_bytes
    out['fused'] = {}
    for name, options in dict(SGD=dict(momentum=0.9), Adam={}, AdamW={}, Adagrad={}).items():

        def fused(model: nn.Module, name: str = name, options: dict = options) -> OptimWrapper:
            optimizer = getattr(torch.optim, name)(model.parameters(), lr=1e-3, fused=True, **options)
            return AmpOptimWrapper(optimizer, dtype='float16')

        out['fused'][name] = estimate(SIMULATOR.trace(Net, fused, on_gpu)[0]).most['optimizer']
    out['prefetch'] = [
        dataclasses.asdict(estimate(SIMULATOR.trace(Net, adamw, make, prefetches=make is batch)[0]))
        for make in (on_gpu, batch)
    ]
    out['batch'] = [tensor.nbytes for tensor in batch().values()]
    both = [estimate(SIMULATOR.trace(Net, amp, on_gpu, num_steps=steps)[0]) for steps in (1, 2)]
    out['repeated'] = [[found.allocated, found.reserved, found.num_events] for found in both]
    # Twice the batch: activations grow in proportion, weights do not.
    trace, _ = SIMULATOR.trace(Net, adamw, lambda: on_gpu(8))
    out['twice'] = estimate(trace).parts
    return out


if __name__ == '__main__':
    started = time.perf_counter()
    findings = {name: globals()[name]() for name in sys.argv[1:]}
    print(json.dumps(findings | dict(seconds=time.perf_counter() - started)))
