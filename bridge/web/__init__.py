"""What the bridge shows on HTTP."""
