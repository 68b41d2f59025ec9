"""What is known of all weeks and restaurants, and how late orders arrive."""
