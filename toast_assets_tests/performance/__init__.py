"""Guards against slow changes, by ratios and counts that hold on a busy machine; absolute times are no test."""
