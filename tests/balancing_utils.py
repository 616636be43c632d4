"""A model of a few numbers for balancers and aggregators, and ways to train it."""

from __future__ import annotations

import copy

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdense.engine.optim_wrappers import JacobianOptimWrapper
from mmdense.models.balancers import StepLosses, balance_step
from mmdense.registry import BALANCERS, MODELS

TASKS = ('a', 'b', 'c', 'd')
#: Every balancer, with short epochs.
BALANCER_CFGS = {
    'FixedWeights': dict(weights=dict(a=2.0, c=0.5)),
    'EqualWeights': dict(),
    'LossPrioritization': dict(history=2),
    'LossPrioritization, loss': dict(history=1, log_mode='loss', min_weight=0.05),
    'UncertaintyWeights': dict(classification=['b']),
    'DynamicWeightAverage': dict(),
    'GeometricLoss': dict(),
    'RandomWeights': dict(),
    'IMTLL': dict(),
    'DynamicTaskPrioritization': dict(),
    'SmoothTchebycheff': dict(warmup_epochs=1, mu=0.5),
    'FAMO': dict(),
    'FAMO, next': dict(measure='next_batch'),
}
#: Every aggregator that can be built.
AGGREGATOR_CFGS = {
    'GradNorm': dict(),
    'DBMTL': dict(),
    'MoCo': dict(),
    'AlignedMTL': dict(),
    'CAGrad': dict(c=0.5),
    'CRMOGM': dict(weighting=dict(type='MGDA')),
    'ConFIG': dict(),
    'Constant': dict(weights=[1.0, 2.0, 0.5, 1.0]),
    'DualProj': dict(),
    'ExcessMTL': dict(),
    'FairGrad': dict(alpha=1.0),
    'GradDrop': dict(),
    'GradVac': dict(),
    'IMTLG': dict(),
    'Krum': dict(n_byzantine=0, n_selected=2),
    'MGDA': dict(),
    'Mean': dict(),
    'NashMTL': dict(),
    'PCD': dict(),
    'PCGrad': dict(),
    'Random': dict(),
    'Sum': dict(),
    'TrimmedMean': dict(trim_number=1),
    'UPGrad': dict(),
}
#: Draw random numbers outside a run, which have no iteration to depend on.
RANDOM = ('RandomWeights', 'GradDrop', 'GradVac', 'PCGrad', 'Random')


class BalancedToyModel(BaseModel):
    """Two shared layers, and a linear head for each of four tasks."""

    def __init__(self, balancer=None):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
        self.heads = nn.ModuleDict({key: nn.Linear(8, 2) for key in TASKS})
        cfg = balancer or dict(type='FixedWeights')
        self.balancer = BALANCERS.build(cfg, default_args=dict(tasks=list(TASKS)))

    def forward(self, inputs, targets, labelled, mode='loss'):
        feats = self.backbone(inputs)
        losses = {}
        for index, (key, head) in enumerate(self.heads.items()):
            mask = labelled[:, index].to(feats)
            error = (head(feats) - targets[:, index]).float().square().mean(dim=1)
            losses[key] = (error * mask).sum() / mask.sum().clamp(min=1) * 3.0**index
            losses[f'{key}.labelled'] = mask.mean()
        losses['aux'] = 0.1 * feats.float().square().mean()
        return losses

    def parse_losses(self, losses):
        step = StepLosses(final={key: losses[key] for key in TASKS})
        # In one task a part of the loss belongs to an auxiliary prediction.
        step.aux['b'] = 0.3 * losses['b']
        step.others['neck.loss'] = losses['aux']
        step.labelled = {key: losses[f'{key}.labelled'] for key in TASKS}
        return balance_step(self, self.balancer, step)


MODELS.register_module(module=BalancedToyModel, force=True)


def batch_of(step, size=4, lacking=True):
    """A batch that depends on the step; every other one lacks task 'c'."""
    generator = torch.Generator().manual_seed(step)
    labelled = torch.ones(size, len(TASKS), dtype=torch.bool)
    if lacking and step % 2:
        labelled[:, 2] = False
    return dict(
        inputs=torch.randn(size, 6, generator=generator),
        targets=torch.randn(size, len(TASKS), 2, generator=generator),
        labelled=labelled,
    )


def named_cfg(name, cfgs):
    """The config behind a name of this file; what follows a comma tells variants apart."""
    return dict(type=name.partition(',')[0], **copy.deepcopy(cfgs[name]))


def specs():
    """Name to config of the balancer and options of the optimizer wrapper, of all methods."""
    found = {name: (named_cfg(name, BALANCER_CFGS), {}) for name in BALANCER_CFGS}
    for name in AGGREGATOR_CFGS:
        found[name] = (None, dict(aggregator=named_cfg(name, AGGREGATOR_CFGS)))
    uncertain = dict(type='UncertaintyWeights', aux_losses='added')
    both = dict(aggregator=dict(type='PCD'), accumulative_counts=2)
    return {**found, 'UPGrad, uncertainty, accumulated': (uncertain, both)}


def make_toy(balancer=None):
    torch.manual_seed(0)
    return BalancedToyModel(balancer)


def make_wrapper(model, aggregator=None, **kwargs):
    """SGD with momentum, so that a step that must not count would show."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-2)
    if aggregator is None:
        return OptimWrapper(optimizer, **kwargs)
    return JacobianOptimWrapper(optimizer, aggregator, **kwargs)


def train(model, wrapper, batches, epoch=2, part=slice(None), wrapped=None):
    """Train on some batches, of each of which this process takes a part."""
    for step, batch in enumerate(batches):
        own = {key: value[part] for key, value in batch.items()}
        with wrapper.optim_context(wrapped or model):
            losses = (wrapped or model)(**own)
        total, _ = model.parse_losses(losses)
        wrapper.update_params(total)
        if getattr(model.balancer, 'measure', None) == 'same_batch':
            with torch.no_grad(), model.balancer.measure_after_step():
                model.parse_losses(model(**own))
        if (step + 1) % epoch == 0:
            model.balancer.step_epoch()
            if hasattr(model.balancer, 'kpi'):
                model.balancer.update_kpi(dict(a=0.3, b=0.9))
    return flat(model)


def flat(model):
    """All parameters and floating-point buffers as one vector."""
    state = model.state_dict().values()
    return torch.cat([v.detach().flatten().double() for v in state if v.is_floating_point()])


def distributed(model):
    return DistributedDataParallel(model, find_unused_parameters=False)
