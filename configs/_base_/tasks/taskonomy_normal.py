tasks = dict(
    normal=dict(type='Normal'))
