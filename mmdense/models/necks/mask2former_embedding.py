"""The shared representation of MT-CP: Mask2Former's pixel embedding, scaled by its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdense.models.layers import ConstructorInitModule, at_least_float32, full_precision
from mmdense.models.losses.functional import resize
from mmdense.models.utils import PretrainedInitMixin
from mmdense.models.utils.mask2former_keys import convert_mask2former_keys
from mmdense.registry import MODELS
from mmdense.structures import DenseFeatures
from mmdense.utils import require

from .task_features import check_levels

#: Levels of the pixel decoder that attend, and that the queries attend to in turn.
NUM_LEVELS = 3
MASK_ACTIVATIONS = ('none', 'sigmoid')
_INSTALL = "pip install -e '.[onedl-detection]'"


def scaled_by_masks(embeddings: Tensor, pixels: Tensor, mask_activation: str = 'none') -> Tensor:
    """``R = P sum_n act(M_n)`` with mask logits ``M_n = <E_n, P>``, in float32 or wider.

    Without an activation the sum of the logits is one inner product, ``<sum_n E_n, P>``, and
    no mask is made.

    Args:
        embeddings (Tensor): Mask embeddings E ``(B, N, C)``.
        pixels (Tensor): Pixel embedding P ``(B, C, h, w)``.
        mask_activation (str): ``'none'`` or ``'sigmoid'``.

    Returns:
        Tensor: ``(B, C, h, w)``.

    Example:
        >>> e, p = torch.randn(1, 5, 4), torch.randn(1, 4, 2, 3)
        >>> masks = torch.einsum('bnc,bchw->bnhw', e, p)
        >>> direct = torch.einsum('bnhw,bchw->bchw', masks, p)
        >>> torch.allclose(scaled_by_masks(e, p), direct, atol=1e-5)
        True
    """
    with full_precision(pixels):
        e, p = at_least_float32(embeddings), at_least_float32(pixels)
        if mask_activation == 'none':
            scale = torch.einsum('bc,bchw->bhw', e.sum(dim=1), p)
        else:
            scale = torch.einsum('bnc,bchw->bnhw', e, p).sigmoid().sum(dim=1)
        return p * scale[:, None]


@MODELS.register_module()
class Mask2FormerEmbedding(PretrainedInitMixin, ConstructorInitModule):
    """Mask2Former up to its masks, and the pixel embedding scaled by the sum of all of them.

    Mask2Former: Cheng et al., "Masked-attention Mask Transformer for Universal Image
    Segmentation" (CVPR 2022), from the parts of mmdet. The scaling: MT-CP (WACV 2025), as its
    released code does it: raw mask logits of the last decoder layer, all queries, no class
    scores. (The paper writes the product of masks and pixel embedding and calls the result
    N x H x W; it has the channels of the embedding.)

    Children are named as in mmseg's ``Mask2FormerHead``, whose weights load with
    ``prefix='decode_head.'`` from either of the two files in circulation; every parameter must
    find a weight. Attention masks are made from the pixel embedding resized once per level,
    which is the same as resizing the masks.

    Needs mmdet, and mmcv with its compiled ops; both are imported when one is built.

    Args:
        in_channels (Sequence[int]): Channels of the four maps, strides 4 to 32.
        channels (int): C, width of the decoders and of the embeddings; a multiple of the heads
            and of 32, the groups of the norms.
        num_queries (int): N.
        encoder_layers (int): Layers of the pixel decoder. Defaults to 6.
        decoder_layers (int): Layers of the transformer decoder. Defaults to 9.
        num_heads (int): Attention heads. Defaults to 8.
        encoder_channels (int): Hidden units of the encoder's feed-forward layers.
        decoder_channels (int): Hidden units of the decoder's feed-forward layers.
        strides (Sequence[int]): Strides of the four maps.
        mask_activation (str): ``'none'`` (released) or ``'sigmoid'`` on the masks that are
            summed.
        init_cfg (dict | list[dict] | None): ``dict(type='Pretrained', checkpoint=...,
            prefix='decode_head.')``, or any initialiser of mmengine.

    Attributes:
        channels (tuple[int]): Channels of the map that comes out.

    Shape:
        - ``feats.shared`` in: ``(B, in_channels[i], h_i, w_i)``.
        - ``feats.shared`` out: R ``(B, C, h_0, w_0)``, float32.

    Raises:
        MissingDependencyError: If mmdet, or the compiled ops of mmcv, do not load.
        ValueError: If ``mask_activation`` is unknown, widths do not fit, or there are not four
            maps.
        ShapeError: If the maps are not those of ``in_channels``.
    """

    takes_features = True
    convert_keys = staticmethod(convert_mask2former_keys)

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        num_queries: int = 100,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        encoder_channels: int = 1024,
        decoder_channels: int = 2048,
        strides: Sequence[int] = (4, 8, 16, 32),
        mask_activation: str = 'none',
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if mask_activation not in MASK_ACTIVATIONS:
            raise ValueError(
                f'Mask2FormerEmbedding.mask_activation is {mask_activation!r}; choose from '
                f'{MASK_ACTIVATIONS}.'
            )
        four = len(in_channels) == len(strides) == NUM_LEVELS + 1
        if not four or channels % 32 or channels % num_heads:
            raise ValueError(
                f'Mask2FormerEmbedding: in_channels={tuple(in_channels)}, strides='
                f'{tuple(strides)}, channels={channels}, num_heads={num_heads}; need four maps and '
                'a multiple of 32 and of the heads.'
            )
        _check_ops()
        layers = require('mmdet.models.layers', 'Mask2FormerEmbedding', _INSTALL)
        self.in_channels, self.channels = tuple(in_channels), (channels,)
        self.mask_activation, self.num_heads = mask_activation, num_heads
        self.pixel_decoder = layers.MSDeformAttnPixelDecoder(
            in_channels=list(in_channels),
            strides=list(strides),
            feat_channels=channels,
            out_channels=channels,
            num_outs=NUM_LEVELS,
            encoder=_encoder(channels, encoder_layers, num_heads, encoder_channels),
            positional_encoding=ConfigDict(num_feats=channels // 2, normalize=True),
        )
        self.transformer_decoder = layers.Mask2FormerTransformerDecoder(
            **_decoder(channels, decoder_layers, num_heads, decoder_channels)
        )
        self.decoder_positional_encoding = layers.SinePositionalEncoding(
            num_feats=channels // 2, normalize=True
        )
        self.query_embed = nn.Embedding(num_queries, channels)
        self.query_feat = nn.Embedding(num_queries, channels)
        self.level_embed = nn.Embedding(NUM_LEVELS, channels)
        self.mask_embed = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise both decoders as mmdet does: matrices of the queries Xavier normal."""
        self.pixel_decoder.init_weights()
        for module in self.transformer_decoder.modules():
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()
        for parameter in self.transformer_decoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
        # mmengine would initialise the children again, after weights were loaded into them.
        for module in self.modules():
            if module is not self and hasattr(module, '_is_init'):
                module._is_init = True

    def forward(self, feats: DenseFeatures) -> DenseFeatures:
        check_levels('Mask2FormerEmbedding', feats.shared, self.in_channels)
        pixels, embeddings = self.embed(feats.shared)
        return feats.replace(shared=(scaled_by_masks(embeddings, pixels, self.mask_activation),))

    def embed(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pixel embedding ``(B, C, h, w)``, and mask embeddings ``(B, N, C)`` of the last layer."""
        # Deformable attention has no fast kernel in bfloat16.
        with full_precision(maps[0]):
            pixels, memories = self.pixel_decoder([at_least_float32(x) for x in maps])
        keys, positions, small = [], [], []
        for level, memory in zip(self.level_embed.weight, memories):
            size = (memory.shape[-2], memory.shape[-1])
            keys.append(memory.flatten(2).transpose(1, 2) + level)
            nothing_padded = memory.new_zeros((memory.shape[0], *size), dtype=torch.bool)
            position = self.decoder_positional_encoding(nothing_padded)
            positions.append(position.flatten(2).transpose(1, 2))
            small.append(resize(pixels.detach(), size, align_corners=False).flatten(2))
        batch = pixels.shape[0]
        query = self.query_feat.weight.expand(batch, -1, -1)
        query_pos = self.query_embed.weight.expand(batch, -1, -1)
        for index, layer in enumerate(self.transformer_decoder.layers):
            level = index % NUM_LEVELS
            query = layer(
                query=query,
                key=keys[level],
                value=keys[level],
                query_pos=query_pos,
                key_pos=positions[level],
                cross_attn_mask=self._blocked(query, small[level]),
            )
        return pixels, self._mask_embedding(query)

    def _mask_embedding(self, query: Tensor) -> Tensor:
        embedding: Tensor = self.mask_embed(self.transformer_decoder.post_norm(query))
        return embedding

    @torch.no_grad()
    def _blocked(self, query: Tensor, pixels: Tensor) -> Tensor:
        """Keys ``(B * heads, N, S)`` that a query may not see: outside its mask, unless that is
        everywhere.
        """
        logits = self._mask_embedding(query).float() @ pixels.float()
        blocked = logits < 0
        blocked &= ~blocked.all(dim=-1, keepdim=True)
        return blocked.repeat_interleave(self.num_heads, dim=0)


def _encoder(channels: int, num_layers: int, num_heads: int, hidden: int) -> ConfigDict:
    """Config of the pixel decoder's encoder: deformable attention over three levels."""
    attention = dict(
        embed_dims=channels,
        num_heads=num_heads,
        num_levels=NUM_LEVELS,
        num_points=4,
        dropout=0.0,
        batch_first=True,
    )
    return ConfigDict(
        num_layers=num_layers,
        layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=_feed_forward(channels, hidden)),
    )


def _decoder(channels: int, num_layers: int, num_heads: int, hidden: int) -> ConfigDict:
    """Config of the transformer decoder: cross-attention, self-attention, feed-forward."""
    attention = dict(embed_dims=channels, num_heads=num_heads, dropout=0.0, batch_first=True)
    return ConfigDict(
        return_intermediate=True,
        num_layers=num_layers,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_cfg=dict(attention),
            ffn_cfg=_feed_forward(channels, hidden),
        ),
    )


def _feed_forward(channels: int, hidden: int) -> dict[str, Any]:
    return dict(
        embed_dims=channels,
        feedforward_channels=hidden,
        num_fcs=2,
        ffn_drop=0.0,
        act_cfg=dict(type='ReLU', inplace=True),
    )


def _check_ops() -> None:
    """Raise ``MissingDependencyError`` where the deformable attention of mmcv is not compiled."""
    require('mmcv.ops', 'Mask2FormerEmbedding (deformable attention)', 'mim install mmcv')
