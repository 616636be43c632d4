tasks = dict(
    saliency=dict(type='Saliency'))
