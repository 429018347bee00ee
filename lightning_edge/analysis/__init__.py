"""Analysis of finished runs: batch-size scaling, trade-off curves, key-frame policies, confidence intervals."""
