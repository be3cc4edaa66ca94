"""What the keeper's parts cost and achieve: rows of ``plumbline bench``, load and soak."""
