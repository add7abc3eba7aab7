"""Measurements that take minutes: run by hand, their results committed."""
