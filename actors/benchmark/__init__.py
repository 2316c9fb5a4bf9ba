"""The measurements of jobs.benchmark, and models with random weights for them."""
