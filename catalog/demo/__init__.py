"""A shop that the project draws itself: seeded product photographs, titles and shoppers, nothing downloaded."""

from catalog.demo.shop import render_demo

__all__ = ["render_demo"]
