"""What `benchmarks/infer.py` measures, in pieces; each way runs in a process of its own."""
