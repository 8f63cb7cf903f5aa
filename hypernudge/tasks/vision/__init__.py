"""Images: readers, augmentation on the device, networks."""
