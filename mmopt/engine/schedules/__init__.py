"""Learning rates and momenta as functions of the iteration."""
