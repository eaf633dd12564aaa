"""Deformable convolution: each tap of the kernel reads where an offset says, times a factor in its second version.

Papers: https://arxiv.org/abs/1703.06211, https://arxiv.org/abs/1811.11168 (factors). What lies outside the map is 0.

Shape letters: B pictures, C input channels, O output channels, H and W of the input, Q = Ho * Wo places of the output,
N = B * Q, K taps, D deform groups, each with its own offsets for Cd = C / D channels; G groups of the convolution, each
with I = C / G * K numbers per place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmopt.ops.mmcv.bilinear import bilinear_corners
from mmopt.ops.mmcv.weighted_rows import weighted_rows

__all__ = ['DeformConv', 'DeformConvGradients']

# Numbers in the matrix of columns that is made at once, 64 MiB of them, unless one picture alone has more.
_MAX_NUMBERS = 1 << 24


@dataclass(frozen=True)
class DeformConvGradients:
    """Of each tensor that the convolution took; None where there was none, or where it was not asked for."""

    input_BCHW: Tensor | None
    offset: Tensor | None
    mask: Tensor | None
    weight: Tensor | None


@dataclass(frozen=True)
class DeformConv:
    """A deformable convolution, in at least float32; pairs are (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int

    def forward(self, input_BCHW: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
        """Convolve. Not differentiable: :meth:`backward` is the gradient.

        Args:
            input_BCHW: The map.
            offset: (B, D * K * 2, Ho, Wo) in pixels: for each tap, row by row of the kernel, dy and dx.
            mask: (B, D * K, Ho, Wo), factors of the taps. None: 1.
            weight: (O, C / groups, Kh, Kw).

        Returns:
            (B, O, Ho, Wo).
        """
        matrix_GIO = self._to_matrix(_wide(weight))
        output = _wide(offset).new_empty(len(input_BCHW), len(weight), *offset.shape[2:])
        for part in self._parts(input_BCHW, offset, weight):
            columns_GNI = self._columns(*_of(part, input_BCHW, offset, mask), weight)
            output_GNO = torch.bmm(columns_GNI, matrix_GIO)
            output[part] = output_GNO.unflatten(1, (-1, *offset.shape[2:])).permute(1, 0, 4, 2, 3).flatten(1, 2)
        return output

    def backward(
        self,
        grad_output: Tensor,
        input_BCHW: Tensor,
        offset: Tensor,
        mask: Tensor | None,
        weight: Tensor,
        for_inputs: bool = True,
        for_weight: bool = True,
    ) -> DeformConvGradients:
        """Return the gradients for what :meth:`forward` took, ``grad_output`` (B, O, Ho, Wo) being that of its result.

        ``for_inputs`` asks for those of the map, the offsets and the mask, ``for_weight`` for that of the weight.
        """
        matrix_GIO = self._to_matrix(_wide(weight))
        grad_matrix_GIO = torch.zeros_like(matrix_GIO)
        grads = [torch.zeros_like(_wide(tensor)) for tensor in (input_BCHW, offset, mask) if tensor is not None]
        for part in self._parts(input_BCHW, offset, weight):
            taken = _of(part, input_BCHW, offset, mask)
            free = [tensor.detach().requires_grad_(for_inputs) for tensor in taken if tensor is not None]
            with torch.enable_grad():
                columns_GNI = self._columns(free[0], free[1], None if mask is None else free[2], weight)
            grad_GNO = _wide(grad_output[part]).unflatten(1, (self.groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
            if for_weight:
                grad_matrix_GIO += torch.bmm(columns_GNI.detach().transpose(1, 2), grad_GNO)
            if for_inputs:
                grad_columns_GNI = torch.bmm(grad_GNO, matrix_GIO.transpose(1, 2))
                for grad, of_part in zip(grads, torch.autograd.grad(columns_GNI, free, grad_columns_GNI), strict=True):
                    grad[part] = of_part
        return DeformConvGradients(
            grads[0] if for_inputs else None,
            grads[1] if for_inputs else None,
            grads[2] if for_inputs and mask is not None else None,
            self._from_matrix(grad_matrix_GIO, weight.shape) if for_weight else None,
        )

    def _parts(self, input_BCHW: Tensor, offset: Tensor, weight: Tensor) -> Iterator[slice]:
        numbers = input_BCHW.shape[1] * weight[0, 0].numel() * offset[0, 0].numel()
        step = max(1, _MAX_NUMBERS // max(numbers, 1))
        return (slice(first, first + step) for first in range(0, len(input_BCHW), step))

    def _columns(self, input_BCHW: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
        """Return what the taps read, (G, N, I), in the order of the matrix's rows."""
        batch, channels, height, width = input_BCHW.shape
        kernel_height, kernel_width = weight.shape[2:]
        taps, deform_groups = kernel_height * kernel_width, self.deform_groups
        output_height, output_width = offset.shape[2:]
        line = torch.arange(max(output_height, output_width, kernel_height, kernel_width), device=offset.device)
        y_Q = line[:output_height].repeat_interleave(output_width) * self.stride[0] - self.padding[0]
        x_Q = line[:output_width].repeat(output_height) * self.stride[1] - self.padding[1]
        y_K = line[:kernel_height].repeat_interleave(kernel_width) * self.dilation[0]
        x_K = line[:kernel_width].repeat(kernel_height) * self.dilation[1]
        dy_BQDK, dx_BQDK = _wide(offset).reshape(batch, deform_groups, taps, 2, -1).permute(3, 0, 4, 1, 2)
        pixels_BQDK4, weights_BQDK4 = bilinear_corners(
            (y_Q[:, None] + y_K)[:, None] + dy_BQDK, (x_Q[:, None] + x_K)[:, None] + dx_BQDK, height, width
        )
        if mask is not None:
            factors_BQDK = _wide(mask).reshape(batch, deform_groups, taps, -1).permute(0, 3, 1, 2)
            weights_BQDK4 = weights_BQDK4 * factors_BQDK[..., None]
        table_TC = _wide(input_BCHW).permute(0, 2, 3, 1).reshape(-1, channels // deform_groups)
        first_B = torch.arange(batch, device=offset.device, dtype=torch.int32) * (height * width)
        group_D = torch.arange(deform_groups, device=offset.device, dtype=torch.int32)
        rows = (first_B[:, None, None, None, None] + pixels_BQDK4) * deform_groups + group_D[:, None, None]
        columns = weighted_rows(table_TC, rows.view(-1, 4), weights_BQDK4.reshape(-1, 4))
        columns_NDKC = columns.view(-1, deform_groups, taps, channels // deform_groups)
        if self.groups == 1:
            return columns_NDKC.flatten(1)[None]
        return columns_NDKC.transpose(2, 3).reshape(len(columns_NDKC), self.groups, -1).transpose(0, 1)

    def _to_matrix(self, weight: Tensor) -> Tensor:
        """Return the weight as a matrix per group (G, I, O / G)."""
        if self.groups == 1:
            # The order in which the columns come: nothing as large as they are is ever transposed.
            weight_ODCK = weight.reshape(len(weight), self.deform_groups, -1, weight[0, 0].numel())
            return weight_ODCK.permute(1, 3, 2, 0).flatten(0, 2)[None]
        return weight.reshape(self.groups, len(weight) // self.groups, -1).transpose(1, 2)

    def _from_matrix(self, matrix_GIO: Tensor, shape: torch.Size) -> Tensor:
        if self.groups == 1:
            taps = shape[2] * shape[3]
            return matrix_GIO.view(self.deform_groups, taps, -1, shape[0]).permute(3, 0, 2, 1).reshape(shape)
        return matrix_GIO.transpose(1, 2).reshape(shape)


def _of(part: slice, input_BCHW: Tensor, offset: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    return input_BCHW[part], offset[part], None if mask is None else mask[part]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
