"""Workers: read, decode, inpaint, encode and write units of samples."""
