"""The objective that `lookahead` approximates: what true training steps lead to."""

from hypernudge.hypergradient.objectives import gradient


def unroll(task, params, batches):
    """The last batch's loss after true optimizer steps on all others (Maclaurin et al. 2015)."""

    def objective(hp):
        w, state = params, task.optimizer.init(params)
        for batch in batches[:-1]:
            w, state = task.optimizer.update(w, gradient(task, w, batch, hp), state, hp)
        return task.loss(w, batches[-1], hp)

    return objective
