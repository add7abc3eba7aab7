"""What each part of the model is worth: the full model, the model without each part, and its rivals, run alike.

`python -m benchmarks.ablation --help` tells how. Results are committed below `benchmarks/results/ablation`, one row a
run, and read into `docs/RESULTS.md`.
"""
