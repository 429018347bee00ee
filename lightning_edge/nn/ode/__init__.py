"""Neural ODEs: ANODEV2, its weight evolution, and the nets made of them."""
