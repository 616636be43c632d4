# The search of ATRC: logits of the genotype by Adam beside the weights, in the same step and on the
# same batch; gradients clipped. Schedule and optimizer of the weights are those of the config that
# takes these two.
search_optim_wrapper = dict(
    type='SplitOptimWrapper',
    constructor='SplitOptimWrapperConstructor',
    second_optimizer=dict(type='Adam', lr=5e-4),
    paramwise_cfg=dict(second=[r'genotype_logits$']),
    clip_grad=dict(max_norm=10.0))
search_hooks = [dict(type='GenotypeSearchHook')]
