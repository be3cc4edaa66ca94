"""The quant world: floats and numpy. Measures, calibrates and proposes; it never decides on chain.

Conventions, the same in every module:

* a *loss* is positive when money is lost, in units of the settlement currency (or per unit of
  value where a function says so); a profit is a negative loss;
* `alpha` is the confidence, e.g. 0.99, never the tail probability;
* VaR is the upper `alpha`-quantile, the smallest x with P(L <= x) > alpha. For n equally weighted
  losses with n·(1 - alpha) = k a whole number it is the k-th worst loss;
* ES is the Rockafellar-Uryasev weighted tail mean: the mean of exactly the worst 1 - alpha of the
  probability mass, so that an atom at the VaR counts only with the part that lies in the tail;
* time runs along axis 0, oldest first; returns and volatilities are per observation step
  (one hour for the hourly tables), never annualised.

scipy, arch, cvxpy, scikit-learn and polars load inside the functions that need them, so that
importing this package costs no more than numpy.
"""
