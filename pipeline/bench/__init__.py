"""How fast the pipeline is: benchmarks of planning, flow and reports."""
