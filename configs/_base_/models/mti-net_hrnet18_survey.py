# MTI-Net as in the multi-task survey (TPAMI 2021), which sums the losses of the four scales.
_base_ = ['./mti-net_hrnet18.py']

head = dict(intermediate_reduction='sum')
