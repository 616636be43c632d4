tasks = dict(
    boundary=dict(type='Boundary'))
