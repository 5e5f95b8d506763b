"""Stage 1: find every product on a shelf photo, whatever it is called.

What ultralytics reads of the environment when it is imported is set here: it shall download nothing and install nothing.
"""

import atexit
import os
import shutil
import tempfile

import cv2

os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
# ultralytics would set it to 1; OpenCV counts the processors that this process may use
os.environ.setdefault("OMP_NUM_THREADS", str(cv2.getNumberOfCPUs()))
if "YOLO_CONFIG_DIR" not in os.environ:  # its settings file goes nowhere near $HOME
    os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="ultralytics-")
    atexit.register(shutil.rmtree, os.environ["YOLO_CONFIG_DIR"], ignore_errors=True)
