"""What the processes of launch.py have imported before they are forked."""

import accelerate  # noqa: F401

import fvdm.cli  # noqa: F401
import fvdm.training  # noqa: F401
from fvdm.codecs import patch_torchvision

patch_torchvision()

import timm.optim  # noqa: E402, F401
import timm.utils  # noqa: E402, F401
