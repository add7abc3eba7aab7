"""The networks: processor, backbones, guided MoE, pooling, losses, training, and the encoder that everything serves.

Importing this package loads nothing heavy; take what you need from its modules: `models.config` for the sections of
the configuration tree, `models.training.train` to train, `models.encoder.MoonEncoder` to embed.
"""
