"""Does the gate's rule of no regression alarm as often as its level says, and catch a loss as often as it prints?

Simulated pairs of encoders, since only there is it known which of two is better.
"""
