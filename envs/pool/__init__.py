"""Worlds that envpool plays: ProcGen, Atari, DeepMind Control and Meta-World, all by one adapter.

``games`` has the adapter, a batch of games whose episodes restart in the step that ends them; each suite is a file with
a class of games, whose tasks are records (`envs.pool.worlds.PoolWorld`). The extra ``envpool`` brings what plays them,
``procgen`` also the Qt libraries that ProcGen is drawn with; nothing of either is imported before games are made.
"""
