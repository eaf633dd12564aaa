"""What of a graph ONNX has an operator for that torch's exporter does not find: suppression, and the LSTM.

torch's exporter would make the former impossible and the latter a loop over frames.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['onnx_lstms', 'translations']


def translations() -> dict[Any, Callable]:
    """Return the translations of mmopt's operators."""
    from onnxscript import opset18  # an extra, which is not always installed

    op: Any = opset18

    def nms_mask(boxes_BN4, scores_BN, groups_BN, num_groups: int, threshold: float):
        """Spread the scores over the groups, suppress, and mark what was chosen (batch, group, box)."""
        one_hot = op.OneHot(groups_BN, op.Constant(value_int=num_groups), op.Constant(value_floats=[0.0, 1.0]), axis=1)
        scores_BGN = op.Mul(one_hot, op.Unsqueeze(scores_BN, op.Constant(value_ints=[1])))
        chosen_S3 = op.NonMaxSuppression(
            boxes_BN4,
            scores_BGN,
            op.Shape(scores_BN, start=1),
            op.Constant(value_float=threshold),
            op.Constant(value_floats=[0.0]),
        )
        place_S2 = op.Gather(chosen_S3, op.Constant(value_ints=[0, 2]), axis=1)
        box_S = op.Gather(chosen_S3, op.Constant(value_int=2), axis=1)
        one_S = op.Cast(op.GreaterOrEqual(box_S, op.Constant(value_int=0)), to=1)
        nothing_BN = op.Mul(scores_BN, op.Constant(value_float=0.0))
        return op.Cast(op.ScatterND(nothing_BN, place_S2, one_S), to=9)

    from mmopt.ops import padded_nms  # noqa: F401  registers the operator

    return {torch.ops.mmopt.nms_mask.default: nms_mask}


class _OnnxLSTM(nn.Module):
    """ONNX's LSTM with the weights of torch's; it only ever runs in an export."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm
        self.directions = 2 if lstm.bidirectional else 1

    def _weights(self, name: str, layer: int) -> Tensor:
        """Return the weights of a layer, a row per direction; ONNX orders the gates i o f c, torch i f c o."""
        stacked = []
        for suffix in ('', '_reverse')[: self.directions]:
            first, forget, cell, output = getattr(self.lstm, f'{name}_l{layer}{suffix}').chunk(4)
            stacked.append(torch.cat((first, output, forget, cell)))
        return torch.stack(stacked)

    def forward(self, x_BTC: Tensor) -> tuple[Tensor, None]:
        lstm, hidden = self.lstm, self.lstm.hidden_size
        x_TBC = x_BTC.transpose(0, 1) if lstm.batch_first else x_BTC
        for layer in range(lstm.num_layers):
            length, batch = x_TBC.shape[:2]
            weights, recurrent = self._weights('weight_ih', layer), self._weights('weight_hh', layer)
            if lstm.bias:
                bias = torch.cat((self._weights('bias_ih', layer), self._weights('bias_hh', layer)), dim=1)
            else:
                bias = weights.new_zeros(self.directions, 8 * hidden)
            y_TDBH = torch.onnx.ops.symbolic(
                'LSTM',
                (x_TBC, weights, recurrent, bias),
                dict(hidden_size=hidden, direction='bidirectional' if self.directions == 2 else 'forward'),
                dtype=x_TBC.dtype,
                shape=(length, self.directions, batch, hidden),
                version=18,
            )
            x_TBC = y_TDBH.transpose(1, 2).flatten(2)
        return (x_TBC.transpose(0, 1) if lstm.batch_first else x_TBC), None


def onnx_lstms(module: nn.Module) -> list[tuple[nn.Module, str, nn.LSTM]]:
    """Replace the LSTMs of a module by ONNX's, in place.

    Only what a graph needs stands for it: no dropout, states begin at zero, and the last ones are not given.

    Returns:
        What to set back: owner, name and layer.
    """
    replaced = []
    for owner in list(module.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, nn.LSTM) and not child.proj_size and not isinstance(owner, _OnnxLSTM):
                setattr(owner, name, _OnnxLSTM(child))
                replaced.append((owner, name, child))
    return replaced
