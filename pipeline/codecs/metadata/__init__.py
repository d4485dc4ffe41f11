"""What a result says beside its pixels: kept, marked as partly generated, or reduced to what its pixels need."""
