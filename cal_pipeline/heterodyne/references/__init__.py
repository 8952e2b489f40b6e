"""Local reference files: atmosphere tables and how one is chosen."""
