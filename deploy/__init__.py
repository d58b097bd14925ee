"""What runs the bridge: a demonstration, and examples of configuration."""
