"""Neural ODEs: ANODEV2, its weight evolution, and nets that are built from them."""
