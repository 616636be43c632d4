# The plain convolutional network of conv_multitask.py for the pictures of the real data sets:
# normalised with the mean and standard deviation of ImageNet, as all published multi-task
# protocols do, and not padded. The heads are HRNet's, one 1x1 convolution over all maps: at this
# size 3x3 convolutions of 480 channels would take most of the time.
_base_ = ['./conv_multitask.py']

head = dict(channels=128, num_convs=1, kernel_size=1)
model = dict(
    data_preprocessor=dict(
        mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), size_divisor=1))
