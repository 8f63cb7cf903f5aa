"""hypernudge steers hyper-parameters with what training already knows, and proves whether that helped."""
