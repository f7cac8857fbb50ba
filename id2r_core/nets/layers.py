"""Building blocks that several networks share. Every image tensor is [B, C, H, W]."""

import torch
import torch.nn.functional as F
from torch import nn


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """[B, C, H, W] -> [B, C, size, size], averaged where that is smaller."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm with at most `groups` groups, never fewer than two channels in one where that can be had.

    One channel a group would be instance norm, which throws the mean colour of an image away.
    """
    return GroupNorm(max(1, min(groups, channels // 2)), channels, eps=1e-6)


class GroupNorm(nn.GroupNorm):
    """GroupNorm that keeps half-precision images in half precision on CUDA, where autocast would widen them.

    The statistics are summed in float32 all the same; what is spared is half of the memory traffic.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not image.is_cuda or image.dtype == torch.float32:
            return super().forward(image)
        weight, bias = self.weight.to(image.dtype), self.bias.to(image.dtype)
        with torch.autocast("cuda", enabled=False):
            return F.group_norm(image, self.num_groups, weight, bias, self.eps)


class ResidualBlock(nn.Module):
    """norm, swish, conv, norm, swish, conv, plus the input (through a 1x1 convolution where the width changes)."""

    def __init__(self, channels_in: int, channels_out: int, groups: int):
        super().__init__()
        self.norm1 = group_norm(channels_in, groups)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out, groups)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(F.silu(self.norm1(image)))
        return self.skip(image) + self.conv2(F.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """Single-head self-attention over the pixels of a small image, plus the input."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = image.shape
        tokens = self.query_key_value(self.norm(image)).flatten(2).transpose(1, 2)  # [B, H * W, 3 * C]
        query, key, value = tokens.chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value)  # [B, H * W, C]
        return image + self.out(mixed.transpose(1, 2).reshape(batch, channels, height, width))


class Downsample(nn.Module):
    """Halve an image with a strided convolution, padded on the right and below as in VQGAN."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(image, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double an image by repetition, then convolve."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(image, scale_factor=2.0, mode="nearest"))


class SwinBlock(nn.Module):
    """Attention inside windows (shifted by half a window where `shift`), then a two-layer perceptron; both residual.

    The image side must be a multiple of the window.
    """

    def __init__(self, width: int, heads: int, window: int, shift: bool):
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2 if shift else 0
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.position_bias = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens [B, H, W, C] -> the same shape."""
        tokens = tokens + self._attend(self.norm1(tokens))
        return tokens + self.perceptron(self.norm2(tokens))

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, height, width, channels = tokens.shape
        is_shifted = self.shift > 0 and min(height, width) > self.window  # one window alone has nothing to shift
        if is_shifted:
            tokens = torch.roll(tokens, (-self.shift, -self.shift), dims=(1, 2))
        windows = _to_windows(tokens, self.window)  # [B * windows, w * w, C]
        triple = self.query_key_value(windows).unflatten(-1, (3, self.heads, channels // self.heads))
        query, key, value = triple.permute(2, 0, 3, 1, 4)  # each [B * windows, heads, w * w, C / heads]
        index = _relative_positions(self.window).to(tokens.device)
        bias = self.position_bias[:, index][None]  # [1, heads, w * w, w * w]
        if is_shifted:
            bias = bias + _shift_mask(height, width, self.window, self.shift, bias).repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        mixed = self.out(mixed.transpose(1, 2).flatten(2))  # [B * windows, w * w, C]
        tokens = _from_windows(mixed, self.window, height, width)
        return torch.roll(tokens, (self.shift, self.shift), dims=(1, 2)) if is_shifted else tokens


class ResidualSwinGroup(nn.Module):
    """`depth` Swin blocks, every second one shifted, then a convolution, plus the input."""

    def __init__(self, width: int, depth: int, heads: int, window: int):
        super().__init__()
        self.blocks = nn.Sequential(*(SwinBlock(width, heads, window, shift=i % 2 == 1) for i in range(depth)))
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(image.permute(0, 2, 3, 1))  # [B, H, W, C]
        return image + self.conv(tokens.permute(0, 3, 1, 2))


def _relative_positions(window: int) -> torch.Tensor:
    """[w * w, w * w] index of the relative position of each pair of pixels in a window."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    pixel = torch.stack((rows.flatten(), columns.flatten()), 1)  # [w * w, 2]
    offset = pixel[:, None] - pixel[None] + window - 1  # [w * w, w * w, 2]
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]


def _to_windows(tokens: torch.Tensor, window: int) -> torch.Tensor:
    """[B, H, W, C] -> [B * windows, w * w, C], windows row by row."""
    batch, height, width, channels = tokens.shape
    grid = tokens.reshape(batch, height // window, window, width // window, window, channels)
    return grid.transpose(2, 3).reshape(-1, window * window, channels)


def _from_windows(windows: torch.Tensor, window: int, height: int, width: int) -> torch.Tensor:
    """The inverse of `_to_windows`."""
    grid = windows.reshape(-1, height // window, width // window, window, window, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _shift_mask(height: int, width: int, window: int, shift: int, like: torch.Tensor) -> torch.Tensor:
    """[windows, 1, w * w, w * w] -inf between pixels that only the roll brought into one window, else 0."""
    rows, columns = (_wrap_zone(side, window, shift).to(like.device) for side in (height, width))
    zone = rows[:, None] * 3 + columns[None]  # [H, W]
    zone = _to_windows(zone[None, :, :, None], window)[..., 0]  # [windows, w * w]
    is_foreign = zone[:, :, None] != zone[:, None, :]
    return torch.zeros_like(is_foreign, dtype=like.dtype).masked_fill(is_foreign, float("-inf"))[:, None]


def _wrap_zone(side: int, window: int, shift: int) -> torch.Tensor:
    """[side] 0 for pixels in unwrapped windows, 1 and 2 for the two halves of the last window after the roll."""
    position = torch.arange(side)
    return (position >= side - window).long() + (position >= side - shift).long()
