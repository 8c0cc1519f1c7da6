"""LightningCP and DFA (arXiv 2509.00052): fewer full network calls for the same number of steps."""
