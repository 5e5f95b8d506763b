"""The front door: `hylle VERB`, one short file a verb, each of which only calls what is below."""
