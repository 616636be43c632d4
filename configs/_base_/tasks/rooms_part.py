tasks = dict(
    part=dict(type='Part'))
