"""The front door: the `moon` command, the assembled configuration tree, the stack and the ZenML hook.

Importing it does nothing; every part is imported by name.
"""
