"""The layouts that labelling tools write, each read into the same records: COCO, YOLO, Pascal VOC, CSV."""
