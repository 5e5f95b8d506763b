"""The routes of each tab: from addresses to what the other modules do."""
