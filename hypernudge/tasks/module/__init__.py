"""Any `nn.Module` as a task: `ModuleTask` trains and measures it, `ModuleLoss` only measures it."""

from hypernudge.tasks.module.loss import ModuleLoss as ModuleLoss
from hypernudge.tasks.module.task import ModuleTask as ModuleTask
