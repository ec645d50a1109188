"""Quality, activity and cost of the deployed network in one report."""
