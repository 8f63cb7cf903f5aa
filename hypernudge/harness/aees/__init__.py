"""The AEES experiments: one runner for CIFAR-100, SST-2 and AG News, with run plans and saved results."""
