"""What every stage process needs: user errors, complete-or-absent outputs, threads and devices."""
