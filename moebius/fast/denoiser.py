"""The whole denoiser, optimized: same weights, same results to rounding, fixed contexts and timesteps."""

import copy
import re
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.blocks import FoldedResidualBlock, FoldedSeparableConv, FoldedTransformer, join_channels
from moebius.fast.fold import ChannelsLastConv, Linear
from moebius.fast.local_lambda import FoldedLocalLambda
from moebius.fast.upsample import FoldedUpsample
from moebius.network.blocks import LambdaTransformer, ResidualBlock
from moebius.network.denoiser import Denoiser, DownLevel, UpLevel
from moebius.network.functional import timestep_embedding

# Layers that stay in float32 when others are lowered, and that are exact in float32 where others need not be. Rounding
# on the way down changes everything after it, and shortcuts and resampling change whole maps; Mix-FFNs and additions to
# a shortcut hardly matter. The lambdas of narrow heads are few.
PRECISE = re.compile(
    r"^(time|conv_in|conv_out)\b|\b(shortcut$|resample|norm|position$)|^down_levels\.0\.(residuals|transformers\.\d+\.local)\b"
    r"|^down_levels\.\d\.transformers\.\d+\.(project_in|local\.project|interactive|project_out)\b"
)
PRECISE_IN_FLOAT16 = re.compile(r"^time\b|\bnorm$")


class FastDenoiser(nn.Module):
    """Computes the same as :class:`moebius.network.denoiser.Denoiser` for contexts that are known beforehand.

    Values that depend only on weights and contexts are computed here, once; those that also depend on the timestep by
    :meth:`time_biases`, once per run. Maps that the contexts have not reached yet are computed once for all branches.

    Args:
        denoiser: in evaluation mode, float32; it is not changed.
        category_ids: ids of each guidance branch's context, ten each.
    """

    def __init__(self, denoiser: Denoiser, category_ids: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.config, self.map_dtype = denoiser.config, torch.float32
        with torch.no_grad():
            contexts = denoiser.context(denoiser.categories(torch.tensor([list(ids) for ids in category_ids])))
            side = self.config.latent_size
            self.conv_in = FoldedSeparableConv(denoiser.conv_in)
            self.down_levels = nn.ModuleList()
            for level, down in enumerate(denoiser.down_levels):
                self.down_levels.append(_FastLevel(cast(DownLevel, down), side >> level, contexts))
            self.up_levels = nn.ModuleList()
            for level, up in zip(reversed(range(len(self.config.channels))), denoiser.up_levels, strict=True):
                self.up_levels.append(_FastLevel(cast(UpLevel, up), side >> level, contexts))
            self.conv_out = FoldedSeparableConv(denoiser.conv_out, denoiser.norm_out)
            self._take_time_layers(denoiser)

    def _take_time_layers(self, denoiser: Denoiser) -> None:
        """Join the time layers of all residual blocks into one."""
        self.time = copy.deepcopy(denoiser.time)  # `to` changes modules in place
        levels = [*denoiser.down_levels, *denoiser.up_levels]
        blocks = [block for level in levels for block in level.residuals]
        folded = [block for level in [*self.down_levels, *self.up_levels] for block in level.residuals]
        self.bias_widths = [block.time.out_features for block in blocks]
        bias = [block.time.bias + fast.conv_in.pointwise.bias for block, fast in zip(blocks, folded, strict=True)]
        self.time_weight = nn.Parameter(torch.cat([block.time.weight for block in blocks]), requires_grad=False)
        self.time_bias = nn.Parameter(torch.cat(bias), requires_grad=False)

    def lower(self, dtype: torch.dtype) -> "FastDenoiser":
        """Compute in another type and return itself.

        In bfloat16, layers that cost little and decide the accuracy stay float32, and so do the maps between layers:
        each layer rounds its input. float16 has three more bits: everything but the time is computed and kept in it.
        """
        precise = PRECISE_IN_FLOAT16 if dtype == torch.float16 else PRECISE
        self.map_dtype = torch.float16 if dtype == torch.float16 else torch.float32
        for name, module in self.named_modules():
            is_precise = precise.search(name) is not None
            if isinstance(module, ChannelsLastConv | FoldedLocalLambda | Linear):
                module.is_exact = is_precise and dtype == torch.float32
            if name and not is_precise:
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.to(dtype)
                for key, buffer in module.named_buffers(recurse=False):
                    module.register_buffer(key, buffer.to(dtype))
        return self

    def time_biases(self, timesteps: Sequence[int]) -> Tensor:
        """Return the biases of timesteps in 0 … 999 for :meth:`forward`: (timesteps, width of all blocks) float32."""
        at = torch.tensor(timesteps, device=self.time_weight.device)
        sinusoid = timestep_embedding(at, self.config.channels[0])
        return functional.linear(functional.silu(self.time(sinusoid)), self.time_weight, self.time_bias)

    def forward(self, latents: Tensor, time_biases: Tensor, branches: int) -> Tensor:
        """Predict the noise under each of the first ``branches`` contexts.

        Args:
            latents: (B, 2C + 1, h, w), see :meth:`moebius.network.denoiser.Denoiser.forward`.
            time_biases: of one timestep, one row of :meth:`time_biases`.
            branches: number of contexts.

        Returns:
            (branches·B, C, h, w) float32, context by context.
        """
        samples = latents.shape[0]
        biases = list(time_biases.split(self.bias_widths))
        features = self.conv_in(latents.permute(0, 2, 3, 1).contiguous()).to(self.map_dtype)
        skips = [features]
        for level in cast(list[_FastLevel], self.down_levels):
            for layer in range(len(level.residuals)):
                features = level.layer(layer, features, biases.pop(0), samples, branches)
                skips.append(features)
            if level.resample is not None:
                features = level.resample(features).to(self.map_dtype)
                skips.append(features)
        for level in cast(list[_FastLevel], self.up_levels):
            for layer in range(len(level.residuals)):
                features = join_channels(features, skips.pop())
                features = level.layer(layer, features, biases.pop(0), samples, branches)
            if level.resample is not None:
                features = level.resample(features).to(self.map_dtype)
        return self.conv_out(features).permute(0, 3, 1, 2).float()


class _FastLevel(nn.Module):
    """Layers of one resolution, and the resampling to the next one."""

    def __init__(self, level: DownLevel | UpLevel, side: int, contexts: Tensor) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(FoldedResidualBlock(cast(ResidualBlock, block)) for block in level.residuals)
        transformers = cast(list[LambdaTransformer], level.transformers)
        self.transformers = nn.ModuleList(FoldedTransformer(block, side, contexts) for block in transformers)
        self.resample: nn.Module | None = None
        if isinstance(level, DownLevel) and level.downsample is not None:
            self.resample = ChannelsLastConv(level.downsample.weight.detach(), level.downsample.bias, stride=2)
        elif isinstance(level, UpLevel) and level.upsample is not None:
            self.resample = FoldedUpsample(level.upsample)

    def layer(self, index: int, features: Tensor, time_bias: Tensor, samples: int, branches: int) -> Tensor:
        """Compute one residual block and its transformer."""
        features = self.residuals[index](features, time_bias)
        return self.transformers[index](features, samples, branches)
