"""The AEES experiments: episodes on CIFAR-100, SST-2 and AG News, from command line to tables."""
