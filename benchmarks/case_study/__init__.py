"""Six products looked at closely; `python -m benchmarks.case_study` writes docs/CASE_STUDY.md and its pictures."""
