"""Pictures of a study, one a module; `study.plot` names them."""
