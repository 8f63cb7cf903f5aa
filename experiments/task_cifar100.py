"""ResNet-18 on CIFAR-100: bare optimizer, AEES around it, or its random control."""

import sys

from hypernudge.experiments.runners.tasks import run_experiment

if __name__ == "__main__":
    sys.exit(run_experiment("cifar100"))
