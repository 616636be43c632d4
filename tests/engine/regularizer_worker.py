"""One of two processes; started by ``test_regularizer_hook.py``."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from mmengine.runner import Runner
from regularizer_hosts import hook, make_config

from mmdense.engine.distributed import end_process, init_distributed, leave_distributed
from mmdense.models.regularizers.run_clock import step_generator

if __name__ == '__main__':
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    config = make_config(out / 'run', iters=3, hooks=[hook()])
    config.find_unused_parameters = False
    init_distributed(config, 'pytorch')
    runner = Runner.from_cfg(config)
    runner.train()
    draws = torch.rand(3, generator=step_generator(torch.device('cpu'), 5, 1, 'triplane'))
    state = runner.model.module.state_dict()
    rank = torch.distributed.get_rank()
    torch.save(dict(state=state, draws=draws.tolist()), out / f'rank{rank}.pth')
    leave_distributed()
    end_process(0)
