"""Parameters of steps: values, checks, origins."""
