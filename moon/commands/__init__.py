"""What the `moon` command can do, one module a verb. Each imports what it needs when it is called."""
