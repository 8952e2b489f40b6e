"""What the benchmarks share: sessions, measurements, floors, scripts to compare with, and a slow object store."""
