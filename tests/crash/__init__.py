"""What a killed command leaves behind; see :mod:`tests.crash.matrix`."""
