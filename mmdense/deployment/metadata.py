"""What a file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmdense.utils.files import plain
from mmdense.version import __version__

from .wrapper import size_rule

if TYPE_CHECKING:
    from .exporting import ExportSettings

#: Name of the entry in the metadata of ONNX, ``torch.export`` and safetensors files.
KEY = 'mmdense'


def describe_model(
    model: Any, settings: ExportSettings, origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata of an exported network, as plain values.

    Args:
        model (DensePredictor): What is exported.
        settings (ExportSettings): What it is exported for.
        origin (Mapping | None): Further entries.

    Returns:
        dict: ``input`` (what to feed), ``output`` (what comes), ``tasks`` (key to what its map
        means), ``version`` of mmdense, and the entries of ``origin``.
    """
    preprocessor = model.data_preprocessor
    step, remainder = size_rule(model)
    free_size = 'size' in settings.dynamic
    record = dict(
        version=__version__,
        input=dict(
            name='image',
            layout='BCHW',
            dtype='float32',
            colors='RGB',
            range=[0, 255],
            shape=list(settings.shape),
            dynamic=list(settings.dynamic),
            size_step=step if free_size else None,
            size_remainder=remainder if free_size else None,
            # Inside the graph already; for whoever builds another one from the weights.
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
            normalised_inside=True,
        ),
        output=settings.output,
        tasks={key: describe_task(task) for key, task in model.tasks.items()},
    )
    return plain({**record, **(origin or {})})


def describe_task(task: Any) -> dict[str, Any]:
    """What the map of a task means, for readers without mmdense."""
    palette = getattr(task, 'palette', None)
    classes = getattr(task, 'classes', None)
    return dict(
        type=type(task).__name__,
        channels=task.gt_channels,
        logits=task.num_channels,
        unit=getattr(task, 'unit', ''),
        classes=None if classes is None else list(classes),
        palette=None if palette is None else [[int(v) for v in color] for color in palette],
    )
