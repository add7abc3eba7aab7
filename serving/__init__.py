"""A trained model behind HTTP: the vector index, the BentoML service, the Bento of one version, and its parity.

Importing this package loads nothing heavy; take what you need from its modules: `serving.config` for the section of
the configuration tree, `serving.index` to build and search, `serving.packaging` to make a Bento, `serving.launch` to
serve one, `serving.parity` to compare it with the offline encoder. Only `serving.service` imports BentoML.
"""
