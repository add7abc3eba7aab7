"""How well core regions are found in photographs that were labelled by eye, and what finding them costs."""
