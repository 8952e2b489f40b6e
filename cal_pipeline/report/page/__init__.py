"""Frame of reports: one HTML file with pages that are drawn in the browser, and no network."""
