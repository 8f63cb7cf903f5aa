"""Reading saved results of the AEES experiments: tables, paired comparisons, figures. Nothing here trains."""
