"""Steps that calibrate heterodyne receivers, one a file."""
