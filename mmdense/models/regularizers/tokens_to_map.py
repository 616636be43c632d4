"""Adapters from what a module gives to maps."""

from __future__ import annotations

from torch import Tensor, nn

from mmdense.registry import MODELS
from mmdense.utils import ShapeError


@MODELS.register_module()
class TokensToMap(nn.Module):
    """Token tensors to maps, for regularizers that tap a transformer.

    Args:
        grid (tuple[int, int]): Rows and columns of the tokens, row-major.
        num_prefix_tokens (int): Tokens before them (class token, registers), left out.

    Shape:
        - input: ``(B, N, C)``; output: ``(B, C, rows, columns)``.

    Raises:
        ShapeError: If the number of tokens is another.
    """

    def __init__(self, grid: tuple[int, int], num_prefix_tokens: int = 0) -> None:
        super().__init__()
        self.grid, self.num_prefix_tokens = tuple(grid), num_prefix_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        rows, columns = self.grid
        count = rows * columns + self.num_prefix_tokens
        if tokens.ndim != 3 or tokens.shape[1] != count:
            raise ShapeError(
                f'TokensToMap: tokens have shape {tuple(tokens.shape)}; grid={self.grid} with '
                f'num_prefix_tokens={self.num_prefix_tokens} wants (B, {count}, C).'
            )
        return tokens[:, self.num_prefix_tokens :].mT.unflatten(2, self.grid)
