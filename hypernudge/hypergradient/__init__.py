"""Hyper-gradients: objectives (what is differentiated), differentiators (how), and curvature."""

from hypernudge.hypergradient.curvature import Curvature as Curvature
from hypernudge.hypergradient.curvature import gradient_difference as gradient_difference
from hypernudge.hypergradient.curvature import hessian_vector as hessian_vector
from hypernudge.hypergradient.curvature import hessian_vector_many as hessian_vector_many
from hypernudge.hypergradient.curvature import loss_difference as loss_difference
from hypernudge.hypergradient.differentiate import Gradient as Gradient
from hypernudge.hypergradient.differentiate import finite_differences as finite_differences
from hypernudge.hypergradient.differentiate import forward as forward
from hypernudge.hypergradient.differentiate import reverse as reverse
from hypernudge.hypergradient.objectives import direct as direct
from hypernudge.hypergradient.objectives import gather_batch as gather_batch
from hypernudge.hypergradient.objectives import lookahead as lookahead
from hypernudge.hypergradient.stacked import reverse_many as reverse_many
