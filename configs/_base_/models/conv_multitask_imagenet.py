# The plain convolutional network of conv_multitask.py for pictures normalised with the mean and
# standard deviation of ImageNet, as all published multi-task protocols do, and not padded.
_base_ = ['./conv_multitask.py']

model = dict(
    data_preprocessor=dict(
        mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), size_divisor=1))
