"""The model: one backbone, a chain of necks, one head per task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ModuleDict, ModuleList
from torch import Tensor, nn

from mmdense.models.balancers import StepLosses, balance_step, is_auxiliary
from mmdense.models.regularizers import add_regularizers, drop_train_only
from mmdense.registry import BALANCERS, MODELS
from mmdense.structures import DenseDataSample, DenseFeatures
from mmdense.structures.ground_truth import collate_gt
from mmdense.tasks import BaseTask, build_tasks
from mmdense.utils import suggest

from .looks import Looks, average_looks


@MODELS.register_module()
class DensePredictor(BaseModel):
    """Predicts several dense maps of a picture.

    ``image -> backbone -> neck, neck, ... -> head per task -> task.loss / task.decode``.
    Losses stay per task until :meth:`parse_losses`, where the balancer makes one scalar
    of them.

    Args:
        tasks (Mapping): Task name to config; the one list that data set, model,
            evaluator and visualiser share.
        backbone (dict): Config of the backbone, a module from ``(B, 3, H, W)`` to a
            tuple of maps, fine to coarse, or to ``DenseFeatures`` where it has maps per task.
            One whose ``takes_tasks`` or ``takes_task_channels`` is True is built with what
            it asks for, as necks are.
        heads (Mapping): Task name to the config of its head.
        neck (Mapping | Sequence[dict] | None): One neck, a list of necks in order, or a mapping
            from names to them, also in order: ``neck=dict(fusion=dict(type=...),
            affinity=dict(type=...))``, of which a child config can change one. A neck whose
            ``takes_features`` is True maps ``DenseFeatures`` to ``DenseFeatures``; any
            other is called with the shared tuple of maps (mmseg's and mmdet's necks). One
            whose ``takes_tasks`` is True is built with the task keys as ``tasks``, one whose
            ``takes_task_channels`` is True with ``task_channels``, task key to the channels
            that a head of the task predicts, unless its config names them.
        balancer (dict | None): Config of the loss balancer, which gets the task keys as ``tasks``.
            None: ``FixedWeights``.
        regularizers (Mapping | None): Name to config of a
            :class:`~mmdense.models.regularizers.FeatureRegularizer`: losses on features of
            this model, in training only. They are children ``train_only_<name>``; weights of
            theirs in a checkpoint are passed over where they are not configured.
        data_preprocessor (dict | None): Config of the preprocessor. None:
            ``DenseDataPreprocessor`` with its defaults.
        test_cfg (dict | None): ``resize`` (bool): whether predictions are brought to
            ``ori_shape``, the size of the picture on disk. Defaults to True.
            ``resized`` (str): what is resized. ``'activations'`` (ATRC, InvPT; the
            default): predictions bilinearly, then they are decoded. ``'maps'`` (MTI-Net):
            predictions are decoded at the size of the input; the maps are resized, labels
            by nearest (pixel ``floor(i * size_in / size_out)``, OpenCV's), all others
            bilinearly (normals are not re-normalised).
            ``mode='slide'`` with ``crop_size`` and ``stride``, and ``flip=True``: the mean over
            windows and over the mirror image, see
            :class:`~mmdense.models.predictors.looks.Looks`; what is averaged, each task says
            (class shares, depth, directions, ...), at the size of the input. A preprocessor of a
            fixed ``size`` is told ``size=None`` for it.
        init_cfg (dict | None): Initialisation config of mmengine.

    Shape:
        - inputs: ``(B, 3, H, W)``, normalised RGB.
        - predictions: per picture and task ``(D, H, W)``, in ``data_sample.pred(task)``.

    Raises:
        KeyError: If ``heads`` and ``tasks`` name different tasks.
        ValueError: If ``test_cfg`` has an unknown key or value, or ``neck`` neither a type nor
            names of necks.
    """

    def __init__(
        self,
        tasks: Mapping[str, Any],
        backbone: dict[str, Any],
        heads: Mapping[str, dict[str, Any]],
        neck: Mapping[str, Any] | Sequence[dict[str, Any]] | None = None,
        balancer: dict[str, Any] | None = None,
        regularizers: Mapping[str, dict[str, Any]] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        built_tasks = build_tasks(tasks)
        # Built here and not by mmengine, which looks in the default scope only.
        preprocessor = MODELS.build(
            dict(data_preprocessor or dict(type='DenseDataPreprocessor')),
            default_args=dict(tasks=built_tasks),
        )
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.tasks = built_tasks
        self.test_cfg: dict[str, Any] = dict(
            resize=True,
            resized='activations',
            mode='whole',
            crop_size=None,
            stride=None,
            flip=False,
        )
        for key, value in (test_cfg or {}).items():
            if key not in self.test_cfg:
                raise ValueError(f"model.test_cfg['{key}']: {suggest(key, self.test_cfg)}")
            self.test_cfg[key] = value
        if self.test_cfg['resized'] not in ('activations', 'maps'):
            raise ValueError(
                f"model.test_cfg['resized'] is {self.test_cfg['resized']!r}; choose "
                "'activations' or 'maps'."
            )
        Looks.of(self.test_cfg)
        self.backbone = self._build_part(backbone)
        # mmengine's list, so that the `init_cfg` of a neck is heeded.
        self.neck = ModuleList(self._build_part(cfg) for cfg in _chain(neck))
        self.heads = self._build_heads(heads)
        self.balancer = BALANCERS.build(
            balancer or dict(type='FixedWeights'), default_args=dict(tasks=list(self.tasks))
        )
        if regularizers:
            add_regularizers(self, regularizers, self.tasks, _losses_of(heads, self.tasks))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        drop_train_only(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _build_part(self, cfg: Mapping[str, Any]) -> nn.Module:
        """A backbone or neck, which may want the task keys and their output channels."""
        kind = cfg.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        injected: dict[str, Any] = {}
        if getattr(kind, 'takes_tasks', False):
            injected['tasks'] = list(self.tasks)
        if getattr(kind, 'takes_task_channels', False):
            injected['task_channels'] = {k: task.num_channels for k, task in self.tasks.items()}
        part: nn.Module = MODELS.build(cfg, default_args=injected)
        return part

    def _build_heads(self, heads: Mapping[str, dict[str, Any]]) -> nn.ModuleDict:
        by_name = {name: task for task in self.tasks.values() for name in (task.key, *task.aliases)}
        built: dict[str, nn.Module] = {}
        for name, cfg in heads.items():
            if name not in by_name:
                raise KeyError(
                    f"model.heads['{name}'] has no task of that name in `tasks`. "
                    f'{suggest(name, self.tasks)} Add the task or remove the head.'
                )
            task = by_name[name]
            built[task.key] = MODELS.build(cfg, default_args=dict(task=task))
        missing = [key for key in self.tasks if key not in built]
        if missing:
            raise KeyError(
                f'model.heads lacks a head for {missing}: every task of `tasks` needs one. '
                'Add a head or drop the task.'
            )
        # mmengine's dict, as for necks.
        return ModuleDict({key: built[key] for key in self.tasks})

    def _heads(self) -> Iterator[tuple[str, Any]]:
        """Heads with their task key; their methods are BaseDenseHead's."""
        yield from self.heads.items()

    def extract_feat(
        self,
        inputs: Tensor,
        supervised: bool = True,
        data_samples: Sequence[DenseDataSample] | None = None,
    ) -> DenseFeatures:
        """Features after the last neck.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, normalised RGB.
            supervised (bool): Whether ``intermediate`` of the result will be read.
            data_samples (Sequence | None): Say where the pictures are padded.
        """
        out = self.backbone(inputs)
        feats = out if isinstance(out, DenseFeatures) else DenseFeatures(shared=tuple(out))
        feats = feats.replace(
            backbone=feats.shared,
            image_size=_size_of(inputs),
            supervised=supervised,
            padding=_padding_of(data_samples),
        )
        for neck in self.neck:
            if getattr(neck, 'takes_features', False):
                feats = neck(feats)
            else:
                feats = feats.replace(shared=tuple(neck(feats.shared)))
        return feats

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DenseDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[DenseDataSample]:
        """Run the model.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, normalised RGB.
            data_samples (list | None): One sample per picture; needed by ``'loss'``.
            mode (str): ``'tensor'``: task key to the prediction ``(B, D, H, W)`` before
                decoding (for export and profiling). ``'predict'``: the samples with
                predictions. ``'loss'``: named losses.
        """
        if mode == 'loss':
            if not data_samples:
                raise ValueError("DensePredictor.forward: mode='loss' needs `data_samples`.")
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.predict_maps(inputs)
        raise ValueError(
            f"DensePredictor.forward: mode is {mode!r}; choose 'loss', 'predict' or 'tensor'."
        )

    def loss(self, inputs: Tensor, data_samples: list[DenseDataSample]) -> dict[str, Tensor]:
        """Losses named ``<task>.<loss>``; ``<task>.labelled`` is the share of labelled pictures."""
        feats = self.extract_feat(inputs, data_samples=data_samples)
        targets = collate_gt(self.tasks, data_samples, _size_of(inputs), inputs.device)
        losses: dict[str, Tensor] = {}
        for key, head in self._heads():
            valid = self.tasks[key].valid_mask(targets[key])
            for name, value in head.loss(feats, targets[key], valid).items():
                losses[f'{key}.{name}'] = value
            losses[f'{key}.labelled'] = valid.flatten(1).any(dim=1).float().mean()
        losses.update(feats.losses)
        return losses

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Balance the tasks.

        Returns:
            tuple: The scalar to minimise, and what is logged: ``loss``, ``<task>.loss``,
            the terms of each task, those of its auxiliary outputs summed as
            ``<task>.loss_aux``, and the weight of each task where it changes. Logged
            values are means over all processes, see
            :func:`~mmdense.models.balancers.balance_step`.
        """
        step = StepLosses()
        for name, value in losses.items():
            key, _, term = name.partition('.')
            is_loss = 'loss' in name.rsplit('.', 1)[-1]
            if key not in self.tasks:
                if is_loss:
                    step.others[name] = value
                else:
                    step.log(name, value)
                continue
            if is_loss:
                step.add(key, value, is_auxiliary(term))
            step.log(f'{key}.loss_aux' if '.' in term and is_loss else name, value)
        step.labelled = {key: losses[f'{key}.labelled'] for key in step.final}
        return balance_step(self, self.balancer, step)

    def predict_maps(
        self, inputs: Tensor, data_samples: Sequence[DenseDataSample] | None = None
    ) -> dict[str, Tensor]:
        """Task key to the prediction ``(B, D, H, W)`` at the input size, before decoding."""
        feats = self.extract_feat(inputs, supervised=False, data_samples=data_samples)
        size = _size_of(inputs)
        return {key: head.predict(feats, size) for key, head in self._heads()}

    def predict(
        self, inputs: Tensor, data_samples: list[DenseDataSample] | None = None
    ) -> list[DenseDataSample]:
        """Predictions, with padding removed and at ``ori_shape`` (see ``test_cfg``)."""
        looks = Looks.of(self.test_cfg)
        if data_samples is None:
            data_samples = [DenseDataSample() for _ in range(len(inputs))]
        if looks.single:
            maps = self.predict_maps(inputs, data_samples)
        else:
            paddings = [s.metainfo.get('padding_size', (0, 0, 0, 0)) for s in data_samples]
            maps = average_looks(self._predict_padded, self.tasks, inputs, paddings, looks)
        return self.attach(maps, data_samples, averaged=not looks.single)

    def attach(
        self,
        maps: Mapping[str, Tensor],
        data_samples: list[DenseDataSample],
        averaged: bool = False,
    ) -> list[DenseDataSample]:
        """Write predictions into the samples, without padding and at ``ori_shape``.

        Args:
            maps (Mapping[str, Tensor]): Of :meth:`predict_maps`, ``(B, D, H, W)``.
            data_samples (list[DenseDataSample]): One per picture.
            averaged (bool): Whether ``maps`` are means of ``task.to_average``.
        """
        for key, pred in maps.items():
            task = self.tasks[key]
            decode = task.from_average if averaged else task.decode
            for index, sample in enumerate(data_samples):
                found = self._finish(pred[index : index + 1], sample, decode)
                sample.set_pred(task, found[0])
        return data_samples

    def _predict_padded(
        self, inputs: Tensor, paddings: Sequence[tuple[int, int, int, int]]
    ) -> dict[str, Tensor]:
        """:meth:`predict_maps` of pictures of which only the padding is known."""
        return self.predict_maps(
            inputs, [DenseDataSample(metainfo=dict(padding_size=p)) for p in paddings]
        )

    def _finish(
        self, pred: Tensor, sample: DenseDataSample, decode: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The map ``(1, D, H, W)`` of one picture: padding cut, decoded, at its native size."""
        meta = sample.metainfo
        left, right, top, bottom = meta.get('padding_size', (0, 0, 0, 0))
        height, width = pred.shape[-2:]
        pred = pred[..., top : height - bottom, left : width - right]
        size = tuple(meta.get('ori_shape', pred.shape[-2:])[:2])
        if not self.test_cfg['resize'] or tuple(pred.shape[-2:]) == size:
            return decode(pred)
        if self.test_cfg['resized'] == 'maps':
            return _resize_map(decode(pred), size)
        return decode(_resize_bilinear(pred, size))

    @torch.no_grad()
    def explain(self, inputs: Tensor) -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
        """Maps worth looking at that heads keep to themselves.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``, normalised RGB.

        Returns:
            dict: Task key to name to maps ``(B, K, h, w)`` in [0, 1] and what they stand
            for ``(B, K, D)``; heads without such maps are left out.
        """
        feats = self.extract_feat(inputs, supervised=False)
        found: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
        for key, head in self._heads():
            if maps := head.explain(feats):
                found[key] = maps
        return found


def _losses_of(
    heads: Mapping[str, dict[str, Any]], tasks: Mapping[str, BaseTask]
) -> dict[str, Any]:
    """Losses that heads are trained with where they are not the task's own."""
    by_name = {name: key for key, task in tasks.items() for name in (key, *task.aliases)}
    return {by_name[name]: cfg['losses'] for name, cfg in heads.items() if cfg.get('losses')}


def _padding_of(
    data_samples: Sequence[DenseDataSample] | None,
) -> tuple[tuple[int, int, int, int], ...] | None:
    """Left, right, top and bottom padding of every picture; None if there is none at all."""
    none = (0, 0, 0, 0)
    padding = tuple(tuple(s.metainfo.get('padding_size', none)) for s in data_samples or ())
    return padding if any(map(any, padding)) else None


def _resize_bilinear(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(maps.float(), size=size, mode='bilinear', align_corners=False)


def _resize_map(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize decoded maps ``(B, D, H, W)``: labels by nearest, all others bilinearly."""
    if maps.is_floating_point():
        return _resize_bilinear(maps, size)
    # float32 holds every label; interpolate knows no integers but uint8. Not 'nearest-exact',
    # which takes the middle of a pixel: files of published codes are resized by OpenCV.
    resized = F.interpolate(maps.float(), size=size, mode='nearest')
    return resized.to(maps.dtype)


def _size_of(inputs: Tensor) -> tuple[int, int]:
    return inputs.shape[-2], inputs.shape[-1]


def _chain(neck: Mapping[str, Any] | Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Configs of the necks in order, of whatever form ``neck`` has."""
    if not isinstance(neck, Mapping):
        return list(neck or [])
    if 'type' in neck:
        return [dict(neck)]
    wrong = [name for name, cfg in neck.items() if not isinstance(cfg, Mapping)]
    if wrong:
        raise ValueError(
            f'model.neck has no `type`, and its entry {wrong[0]!r} is no config of a neck. Give '
            'one neck with `type`, a list of necks, or names with a config each.'
        )
    return list(neck.values())
