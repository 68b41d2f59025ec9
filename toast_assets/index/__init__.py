"""What is known of orders and guests over all weeks, kept small enough to be looked up for each week."""
