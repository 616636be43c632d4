# Five tasks of PASCAL-Context with the losses and weights of the multi-task survey (TPAMI 2021):
# one logit of saliency, and normals averaged over their components.
_base_ = ['./pascal_5task.py']

tasks = dict(
    saliency=dict(num_logits=1),
    normal=dict(losses=[dict(type='MaskedL1Loss', channel_reduction='mean')]))
