"""Predicts millions of photos on one machine or a cluster, by Ray Data: parts of photos in, Parquet out."""
