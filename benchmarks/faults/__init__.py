"""Studies on real workers are shaken: nothing that is finished may be lost, or trained again."""
